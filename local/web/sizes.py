"""How large the API of the local runtime is: numbers that `darkroom doctor` reckons with, too."""

THREADS = 8
"""For what waits for PostgreSQL, a queue or a disk; each may hold a connection."""

GRACE_SECONDS = 5
"""What requests that are being answered get when the API stops."""
