"""Streams and consumers as `contracts.topology` says: applied, watched and shown.

The only part of Darkroom that may create them. `python -m darkroom.topology` is the watcher as a process of its own.
"""
