"""The HTTP API of both runtimes: the only package of `shared` that imports the web framework."""
