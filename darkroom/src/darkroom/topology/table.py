"""Who says what to whom, and whether the broker has what that needs."""

from itertools import zip_longest
from typing import Any

from nats.aio.client import Client
from rich import box
from rich.console import Console
from rich.table import Column, Table

from contracts.questions import (
    QUESTIONS,
)
from contracts.topology import CHANNELS, CLAIMS_BUCKET, CONSUMERS, STREAMS
from darkroom.jetstream import RefusedError, ask
from darkroom.topology.apply import Change
from darkroom.topology.parties import ASKERS, PUBLISHERS, answers, as_pattern, consumers_of

_THERE, _MISSING = "[green]there[/]", "[red]missing[/]"
Found = dict[str, dict[str, Any] | None]


async def show(client: Client, changes: list[Change], console: Console) -> None:
    """Prints the conversation as it is now."""
    consumers = {
        consumer.durable: await _look(client, f"CONSUMER.INFO.{consumer.stream}.{consumer.durable}")
        for consumer in CONSUMERS
    }
    console.print(_facts(consumers))
    names = [*(stream.name for stream in STREAMS), f"OBJ_{CLAIMS_BUCKET}"]
    console.print(_streams({name: await _look(client, f"STREAM.INFO.{name}") for name in names}))
    console.print(_questions())
    for change in changes:
        style = "red" if change.done == "refused" else "yellow"
        console.print(f"[{style}]{change.done}[/] {change.noun} {change.name} {change.reason}".rstrip())


def _facts(found: Found) -> Table:
    table = _table("Facts", "Subject", "Said by", "Heard by", "Waiting")
    for channel in CHANNELS:
        durables, speakers = consumers_of(channel), PUBLISHERS[channel]
        rows = max(len(durables), len(speakers))
        for row, (durable, speaker) in enumerate(zip_longest(durables, speakers)):
            table.add_row(
                as_pattern(channel) if row == 0 else "",
                speaker or "",
                durable or "",
                _waiting(found[durable]) if durable else "",
                end_section=row == rows - 1,
            )
    return table


def _waiting(info: dict[str, Any] | None) -> str:
    """How many facts a consumer has not settled."""
    return _MISSING if info is None else f"{info['num_pending'] + info['num_ack_pending']:,}"


def _streams(found: Found) -> Table:
    table = _table("Streams", "Stream", "State", "Messages", "Bytes", "Subjects")
    for name, info in found.items():
        if info is None:
            table.add_row(name, _MISSING, "", "", "")
            continue
        state = info["state"]
        subjects = "\n".join(info["config"]["subjects"])
        table.add_row(name, _THERE, f"{state['messages']:,}", f"{state['bytes']:,}", subjects)
    return table


def _questions() -> Table:
    table = _table("Questions", "Question", "Asked with", "By", "Answered with", "By")
    for subject, (asked, answered) in QUESTIONS.items():
        askers = "\n".join(ASKERS[subject])
        table.add_row(subject, asked.__name__, askers, answered.__name__, answers(subject))
    return table


def _table(title: str, *names: str) -> Table:
    """Breaks long words instead of leaving them out: a subject cut short is no subject."""
    columns = [Column(name, overflow="fold") for name in names]
    return Table(*columns, title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))


async def _look(client: Client, subject: str) -> dict[str, Any] | None:
    try:
        return await ask(client, subject)
    except RefusedError:
        return None
