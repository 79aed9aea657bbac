"""Owns the work on each generation, its paid attempts, the catalog of models and the providers' keys.

Never knows a user's name or balance, and never stores media.
"""
