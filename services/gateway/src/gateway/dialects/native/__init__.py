"""Our own API, under /v1."""
