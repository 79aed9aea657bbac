"""Real NATS, Postgres and S3 as child processes on loopback, each from a package on PyPI.

Owns their files, ports, passwords and processes. Never knows what Darkroom stores in them: streams, schemas and
objects are applied from outside, exactly as on a cluster.
"""

from .nats import NatsServer
from .ports import free_port, free_ports
from .postgres import PostgresServer
from .process import Process, ProcessDiedError, ProcessNotReadyError
from .s3 import S3Server

__all__ = [
    "NatsServer",
    "PostgresServer",
    "Process",
    "ProcessDiedError",
    "ProcessNotReadyError",
    "S3Server",
    "free_port",
    "free_ports",
]
