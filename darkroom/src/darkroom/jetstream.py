"""The JetStream API as it is on the wire: JSON asked on `$JS.API.…`.

Used where settings are compared and messages are looked at one by one; nats-py's own classes drop fields that they do
not know.
"""

import json
import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import nats
from nats.aio.client import Client

ASK_SECONDS = 3.0
CONNECT_SECONDS = 2
DELETIONS = ("$JS.EVENT.ADVISORY.STREAM.DELETED.*", "$JS.EVENT.ADVISORY.CONSUMER.DELETED.*.*")
"""Where the server says that a stream or a consumer is gone."""


class RefusedError(Exception):
    """The server understood and said no. `code` is HTTP-like, `error_code` the server's own."""

    def __init__(self, code: int, error_code: int, description: str) -> None:
        super().__init__(description)
        self.code = code
        self.error_code = error_code

    @property
    def absent(self) -> bool:
        """What was asked for does not exist."""
        return self.code == 404


def _to_stderr(words: str) -> None:
    sys.stderr.write(f"{words}\n")


async def connect(
    nats_url: str,
    name: str,
    *,
    patient: bool = False,
    forbidden: Callable[[str], None] = _to_stderr,
    reconnected: Callable[[], Awaitable[None]] | None = None,
) -> Client:
    """A client of `nats_url` (comma-separated), as the user in it, else as NATS_USER with NATS_PASSWORD if set.

    A patient one waits for a server that is away, for ever; the other raises nats.errors.Error or OSError. What the
    server does not permit is only told to `forbidden`: a question gets no answer then.
    """

    async def on_error(error: Exception) -> None:
        """Says nothing of failed attempts to connect, for each of which nats-py would print a traceback."""
        if "violation" in str(error).lower():
            forbidden(str(error))

    named = "@" in nats_url
    return await nats.connect(
        nats_url.split(","),
        name=name,
        inbox_prefix=f"_INBOX_{name}".encode(),
        user=None if named else os.environ.get("NATS_USER"),
        password=None if named else os.environ.get("NATS_PASSWORD"),
        error_cb=on_error,
        reconnected_cb=reconnected,
        allow_reconnect=patient,
        max_reconnect_attempts=-1 if patient else 1,
        reconnect_time_wait=0.5,
        connect_timeout=CONNECT_SECONDS,
        ping_interval=10,
        max_outstanding_pings=2,
    )


def in_cluster(client: Client) -> bool:
    """Whether the server that was connected to is set up as one of several."""
    return "cluster" in client._server_info


def servers_of(client: Client) -> int:
    """How many servers there are, as we name them or, with several, as the one that was connected to does."""
    named = len(client.servers) - len(client.discovered_servers)
    return max(named, len(client._server_info.get("connect_urls") or ()))


async def ask(client: Client, subject: str, question: dict[str, Any] | None = None) -> dict[str, Any]:
    """The answer of `$JS.API.<subject>`.

    Raises:
        RefusedError: the server said no.
        nats.errors.Error: nobody answered.
    """
    payload = b"" if question is None else json.dumps(question).encode()
    reply = await client.request(f"$JS.API.{subject}", payload, timeout=ASK_SECONDS)
    answer: dict[str, Any] = json.loads(reply.data)
    error = answer.get("error")
    if error is not None:
        raise RefusedError(error.get("code", 0), error.get("err_code", 0), error.get("description", "refused"))
    return answer
