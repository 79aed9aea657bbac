"""The whole conversation between the services: facts, topology, money and ids.

Pydantic only, no I/O. Internal consumers of the events install this package and nothing else.
"""
