"""The use cases: whatever needs rows and events together."""
