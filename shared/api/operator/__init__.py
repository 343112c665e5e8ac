"""The routes of operators, over all workspaces; the operator page shows what they answer."""
