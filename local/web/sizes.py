"""Sizes of the local API, which `darkroom doctor` checks against those of the servers."""

THREADS = 8
"""For calls that wait for PostgreSQL, a queue or a disk; each may hold a connection."""

GRACE_SECONDS = 5
"""How long open requests may take when the API stops."""
