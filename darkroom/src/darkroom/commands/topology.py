"""`darkroom topology`."""

import os
import sys
from typing import Annotated

import typer

from darkroom.commands.options import DEFAULT_DATA, MISCONFIGURED, Data, fail


def topology(
    watch: Annotated[bool, typer.Option("--watch", help="Stay, and repair what is missing within 10 s.")] = False,
    replicas: Annotated[int, typer.Option(min=1, max=5, help="Copies of each stream, on as many servers.")] = 1,
    data: Data = DEFAULT_DATA,
) -> None:
    """Make streams and consumers what the contracts say, and show who says what to whom."""
    from darkroom.stack import NoStackError, Stack

    try:
        nats_url = Stack.find(data).address("nats_url")
    except NoStackError as error:
        fail(str(error), MISCONFIGURED)
    if watch:
        # Becomes a process that has loaded only what it needs, since it stays.
        arguments = [sys.executable, "-m", "darkroom.topology", "--replicas", str(replicas)]
        os.execve(sys.executable, arguments, {**os.environ, "NATS_URL": nats_url})  # noqa: S606
    _apply(nats_url, replicas)


def _apply(nats_url: str, replicas: int) -> None:
    import asyncio

    from nats.errors import Error as NatsError
    from rich.console import Console

    from darkroom.jetstream import connect
    from darkroom.topology.apply import Change, apply
    from darkroom.topology.table import show

    async def run() -> list[Change]:
        client = await connect(nats_url, "topology")
        try:
            changes = await apply(client, replicas)
            await show(client, changes, Console(highlight=False))
            return changes
        finally:
            await client.close()

    try:
        changes = asyncio.run(run())
    except (NatsError, OSError) as error:
        fail(f"NATS at {nats_url.rpartition('@')[2]} does not answer: {error or type(error).__name__}.")
    if any(change.done == "refused" for change in changes):
        fail("The server refused a change; see above.")
