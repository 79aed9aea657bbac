"""Signing in as reelmate, social and instaveo do: one router with the union of their keys. Owns no table."""
