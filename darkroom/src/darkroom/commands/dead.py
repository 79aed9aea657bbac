"""`darkroom dead list | show | replay | drop`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkroom.commands.options import DEFAULT_DATA, MISCONFIGURED, Data, fail

if TYPE_CHECKING:
    from nats.aio.client import Client

    from darkroom.dead import Letter

app = typer.Typer(help="Facts that no consumer could handle: look at them, replay or drop them.", no_args_is_help=True)

Sequences = Annotated[list[int] | None, typer.Argument(help="Numbers of letters, as in the list.")]
All = Annotated[bool, typer.Option("--all", help="Every letter.")]
Consumer = Annotated[str | None, typer.Option(help="Only letters of this consumer.")]


@app.command("list")
def list_letters(
    consumer: Consumer = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    data: Data = DEFAULT_DATA,
) -> None:
    """Show the letters, oldest first."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    found = _run(data, lambda client: _select(client, None, everything=True, consumer=consumer, limit=limit))
    if not found:
        typer.echo("No dead letters.")
        return
    table = Table()
    for name in ("Number", "Since (UTC)", "Consumer", "Subject", "Deliveries", "Reason"):
        table.add_column(name, overflow="fold")
    for letter in found:
        table.add_row(
            str(letter.sequence),
            f"{letter.at:%Y-%m-%d %H:%M:%S}",
            escape(letter.consumer),
            escape(letter.subject or "?"),
            str(letter.deliveries),
            escape(letter.reason.splitlines()[0][:200]) if letter.reason else "",
        )
    Console().print(table)


@app.command()
def show(sequence: Annotated[int, typer.Argument(help="The letter's number.")], data: Data = DEFAULT_DATA) -> None:
    """Print one letter whole, as JSON."""
    import dataclasses
    import json

    letter = _run(data, lambda client: _select(client, [sequence], everything=False))[0]
    typer.echo(json.dumps(dataclasses.asdict(letter), indent=2, default=str, ensure_ascii=False))


@app.command()
def replay(
    sequences: Sequences = None, everything: All = False, consumer: Consumer = None, data: Data = DEFAULT_DATA
) -> None:
    """Say facts again on their subjects and remove their letters. Harmless: every step can be driven again."""
    from darkroom.dead import ReplayError, replay

    async def act(client: Client) -> tuple[int, list[str]]:
        refused, done = [], 0
        for letter in await _select(client, sequences, everything=everything, consumer=consumer):
            try:
                await replay(client, letter)
                done += 1
            except ReplayError as error:
                refused.append(f"Letter {letter.sequence} was not replayed: {error}.")
        return done, refused

    done, refused = _run(data, act)
    typer.echo(f"Replayed {done}.")
    if refused:
        fail("\n".join(refused))


@app.command()
def drop(
    sequences: Sequences = None, everything: All = False, consumer: Consumer = None, data: Data = DEFAULT_DATA
) -> None:
    """Remove letters for good."""
    from darkroom.dead import drop

    async def act(client: Client) -> int:
        chosen = await _select(client, sequences, everything=everything, consumer=consumer)
        for letter in chosen:
            await drop(client, letter.sequence)
        return len(chosen)

    typer.echo(f"Dropped {_run(data, act)}.")


async def _select(
    client: Client,
    sequences: list[int] | None,
    *,
    everything: bool,
    consumer: str | None = None,
    limit: int | None = None,
) -> list[Letter]:
    """The letters that were asked for."""
    from darkroom.dead import letter, letters

    if sequences:
        found = []
        for sequence in dict.fromkeys(sequences):
            one = await letter(client, sequence)
            if one is None:
                fail(f"There is no letter {sequence}.")
            found.append(one)
        return found
    if not everything and consumer is None:
        fail("Name the letters by their numbers, or use --all or --consumer.", 2)
    found = []
    async for one in letters(client):
        if consumer in (None, one.consumer):
            found.append(one)
        if limit is not None and len(found) == limit:
            break
    return found


def _run(data: Any, act: Callable[[Client], Awaitable[Any]]) -> Any:
    """Runs something against the stack's broker."""
    import asyncio

    from nats.errors import Error as NatsError

    from darkroom.jetstream import RefusedError, connect
    from darkroom.stack import NoStackError, Stack

    async def connected(nats_url: str) -> Any:
        client = await connect(nats_url, "dead")
        try:
            return await act(client)
        finally:
            await client.close()

    try:
        return asyncio.run(connected(Stack.find(data).address("nats_url")))
    except NoStackError as error:
        fail(str(error), MISCONFIGURED)
    except RefusedError as error:
        fail(f"NATS refused: {error}.")
    except (NatsError, OSError) as error:
        fail(f"NATS does not answer: {error or type(error).__name__}.")
