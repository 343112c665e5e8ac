"""Access: API keys of workspaces, signed addresses, trusted networks, open streams."""
