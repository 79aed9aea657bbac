"""Owns assets, variants and /media. Never trusts a content type or a URL it was told."""
