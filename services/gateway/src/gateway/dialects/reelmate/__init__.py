"""The reelmate frontend: campaigns, and the films of an AI studio in which somebody says a script.

It owns campaigns, templates, avatars, voices, links and counts; never a film, which is a generation.
"""
