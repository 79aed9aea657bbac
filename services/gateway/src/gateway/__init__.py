"""Owns generations as clients see them. Never calls a provider, moves credits or opens an object."""
