"""Dead letters can be looked at, said again and dropped (F11, F12)."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from nats.aio.client import Client
from nats.errors import TimeoutError as NatsTimeoutError
from typer.testing import CliRunner, Result

from contracts.topology import (
    DEAD,
    GENERATION,
    LEDGER_HOLD_REQUESTED,
    LEDGER_SETTLE_OUTCOMES,
    OUTCOMES,
    dead_subject,
    outcome_subject,
)
from darkroom.dead import Letter, ReplayError, drop, letter, letters, replay
from darkroom.embedded import NatsServer
from darkroom.jetstream import ask, connect
from darkroom.main import app
from darkroom.topology.apply import apply

pytestmark = pytest.mark.connected

SUBJECT = f"generation.requested.image.interactive.{uuid4()}"
Command = Callable[..., Any]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path_factory.mktemp("dead"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def client(server: NatsServer) -> AsyncIterator[Client]:
    """With the topology, and nothing said yet."""
    client = await connect(server.nats_url, "test")
    await apply(client)
    for stream in (DEAD, GENERATION, OUTCOMES):
        await ask(client, f"STREAM.PURGE.{stream.name}")
    yield client
    await client.close()


@pytest.fixture
def command(server: NatsServer) -> Command:
    runner = CliRunner(env={"NATS_URL": server.nats_url, "COLUMNS": "200"})

    async def run(*words: str) -> Result:
        return await asyncio.to_thread(runner.invoke, app, ["dead", *words, "--data", "/nowhere"])

    return run


async def bury(client: Client, subject: str = SUBJECT, payload: str = '{"a fact": "ä"}', **other: Any) -> int:
    """A letter as the pull loop writes it; returns its number."""
    durable = LEDGER_HOLD_REQUESTED.durable
    letter = {"consumer": durable, "subject": subject, "reason": "KeyError: 'x'", "deliveries": 5, "payload": payload}
    kept = await client.jetstream().publish(dead_subject(durable), json.dumps(letter | other).encode())
    return kept.seq


async def exhaust(client: Client) -> int:
    """A message that is delivered too often and never settled: the broker advises, and keeps it."""
    consumer = LEDGER_HOLD_REQUESTED
    kept = await client.jetstream().publish(SUBJECT, b'{"never": "settled"}')
    config = (await ask(client, f"CONSUMER.INFO.{consumer.stream}.{consumer.durable}"))["config"]
    short = {**config, "max_deliver": 1, "ack_wait": 10**8}
    question = {"stream_name": consumer.stream, "config": short, "action": "update"}
    await ask(client, f"CONSUMER.CREATE.{consumer.stream}.{consumer.durable}", question)
    inbox = client.new_inbox()
    await client.subscribe(inbox)
    await client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{consumer.stream}.{consumer.durable}", b'{"batch":1}', reply=inbox)
    for _ in range(100):
        if (await ask(client, f"STREAM.INFO.{DEAD.name}"))["state"]["messages"]:
            await apply(client)
            return kept.seq
        await asyncio.sleep(0.1)
    raise AssertionError("no advisory")


async def everything(client: Client) -> list[Letter]:
    return [letter async for letter in letters(client)]


async def test_letters_are_listed_and_shown(client: Client, command: Command, server: NatsServer) -> None:
    empty = await command("list")
    assert (empty.exit_code, empty.output.strip()) == (0, "No dead letters.")
    number = await bury(client)
    await client.jetstream().publish(dead_subject("somebody"), b"not a letter")
    listed = await command("list")
    assert SUBJECT in listed.output
    assert "KeyError" in listed.output
    assert "not a letter" in listed.output
    await bury(client, reason="ValueError: invalid tag [/red] in [bold]")
    narrow = await asyncio.to_thread(
        CliRunner(env={"NATS_URL": server.nats_url, "COLUMNS": "80"}).invoke,
        app,
        ["dead", "list", "--data", "/nowhere"],
    )
    assert narrow.exit_code == 0
    cells = [line.split("│") for line in narrow.output.splitlines() if "│" in line]
    columns = ["".join(cell.strip() for cell in column) for column in zip(*cells, strict=True)]
    assert any(SUBJECT in column for column in columns), "whole, however narrow the terminal is"
    assert any("[/red]" in column for column in columns), "what somebody else wrote is no markup"
    only = await command("list", "--consumer", "somebody")
    assert SUBJECT not in only.output
    shown = json.loads((await command("show", str(number))).output)
    assert shown["payload"] == '{"a fact": "ä"}'
    assert shown["deliveries"] == 5
    missing = await command("show", "4711")
    assert missing.exit_code == 1
    assert "no letter 4711" in missing.output


async def test_a_replayed_fact_is_heard_again_and_its_letter_gone(client: Client, command: Command) -> None:
    number = await bury(client)
    other = await bury(client)
    heard = await client.subscribe(SUBJECT)
    await client.flush()
    replayed = await command("replay", str(number), str(number))
    assert (replayed.exit_code, replayed.output.strip()) == (0, "Replayed 1.")
    message = await heard.next_msg(2)
    assert message.data.decode() == '{"a fact": "ä"}'
    assert (message.headers or {})["content-type"] == "application/cloudevents+json"
    assert [letter.sequence for letter in await everything(client)] == [other]
    assert (await ask(client, f"STREAM.INFO.{GENERATION.name}"))["state"]["messages"] == 1, "kept by its stream"


async def test_a_message_that_the_broker_gave_up_is_replayed_from_where_it_lies(client: Client) -> None:
    """M6: running out of deliveries is silent but for the advisory."""
    sequence = await exhaust(client)
    (found,) = await everything(client)
    assert (found.subject, found.stream_sequence, found.consumer) == (SUBJECT, sequence, LEDGER_HOLD_REQUESTED.durable)
    heard = await client.subscribe(SUBJECT)
    await client.flush()
    await replay(client, found)
    assert (await heard.next_msg(2)).data == b'{"never": "settled"}'
    assert await everything(client) == []


async def test_an_advice_about_what_is_gone_cannot_be_replayed(client: Client) -> None:
    await exhaust(client)
    await ask(client, f"STREAM.PURGE.{GENERATION.name}")
    (found,) = await everything(client)
    with pytest.raises(ReplayError, match="no longer kept"):
        await replay(client, found)
    assert await everything(client) == [found]


async def test_a_second_outcome_is_refused_in_words_and_the_letter_stays(client: Client, command: Command) -> None:
    """design.md §3.4: replaying must not decide a generation again."""
    subject = outcome_subject(uuid4())
    await client.jetstream().publish(subject, b'{"the": "first"}')
    number = await bury(client, subject, '{"the": "first"}', consumer=LEDGER_SETTLE_OUTCOMES.durable)
    refused = await command("replay", "--all")
    assert refused.exit_code == 1
    assert f"Letter {number} was not replayed" in refused.output
    assert "holds this generation's outcome already" in refused.output
    assert "The gateway asks the log about what it missed" in refused.output
    assert await letter(client, number) is not None


async def test_bytes_that_were_no_text_are_not_replayed_as_something_else(client: Client) -> None:
    await bury(client, payload="\ufffdbroken")
    (found,) = await everything(client)
    heard = await client.subscribe(SUBJECT)
    await client.flush()
    with pytest.raises(ReplayError, match="not text"):
        await replay(client, found)
    with pytest.raises(NatsTimeoutError):
        await heard.next_msg(0.2)


async def test_letters_are_dropped_only_when_named(client: Client, command: Command) -> None:
    numbers = [await bury(client) for _ in range(3)]
    assert (await command("drop")).exit_code == 2
    assert len(await everything(client)) == 3
    assert (await command("drop", str(numbers[0]))).output.strip() == "Dropped 1."
    await drop(client, numbers[1])
    assert [letter.sequence for letter in await everything(client)] == numbers[2:]
    assert (await command("drop", "--all")).output.strip() == "Dropped 1."
    assert await everything(client) == []


async def test_without_a_broker_it_says_so(tmp_path: Path) -> None:
    runner = CliRunner(env={"NATS_URL": "nats://127.0.0.1:1"})
    away = await asyncio.to_thread(runner.invoke, app, ["dead", "list", "--data", str(tmp_path)])
    assert away.exit_code == 1
    assert "NATS does not answer" in away.output
