"""The HTTP API that both runtimes mount: the only package of `shared` that knows the web."""
