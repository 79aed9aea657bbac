"""The instaveo frontend: a public feed of videos, reactions, views and creators; it owns what it keeps beside them.

It never holds what a generation's own row has: prompt, state and media are joined.
"""
