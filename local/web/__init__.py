"""The HTTP API of the local runtime under uvicorn."""
