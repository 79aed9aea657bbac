"""Streams, consumers and permissions as the contracts say: applied, watched and shown.

The only part of Darkroom that may create them. `python -m darkroom.topology` is the watcher as a process of its own.
"""

from pathlib import Path

AUTHORIZATION = Path(__file__).with_name("authorization.conf")
"""What a NATS server is told of its users; `darkroom schemas` exports it from `permissions`."""
