"""Who may do what: API keys of workspaces, signed addresses, open streams."""
