"""The use cases: everything that needs rows and events together."""
