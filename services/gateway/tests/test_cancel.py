"""Cancelling is honest (P18, B48): the log decides who was first, and the answer agrees with it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from contracts.facts import Outcome, Request, Verdict
from contracts.questions import GENERATOR_FINISH_TEXT, FinishedText, FinishText
from contracts.topology import outcome_subject
from gateway.saying import FINISH_SECONDS

from .client import Client, until
from .conftest import MakeClient
from .outcomes import outcome_of
from .players import WRITER, Players

pytestmark = pytest.mark.connected

RACES = 200


async def verdict_in_the_log(bus: NatsClient, generation_id: str) -> Verdict:
    message = await bus.jetstream().get_last_msg("OUTCOMES", outcome_subject(UUID(generation_id)), direct=True)
    assert message.data is not None
    return Outcome.decode(message.data).data.verdict


async def at(stage: str, client: Client, players: Players, **fields: str) -> str:
    """A generation that stands at a stage."""
    players.scripts[client.user_id] = players.hold
    generation_id: str = (await client.accepted(**fields))["id"]
    request = await players.heard(generation_id)
    if stage in {"funded", "rendered"}:
        await players.fund(request)
    if stage == "rendered":
        await players.render(request)
    if stage != "requested":

        async def processing() -> bool:
            return (await client.show(generation_id))["status"] == "processing"

        await until(processing)
    return generation_id


@pytest.mark.parametrize("stage", ["requested", "funded", "rendered"])
async def test_what_is_not_final_can_be_cancelled_and_costs_nothing(
    client: Client, players: Players, bus: NatsClient, postgres: asyncpg.Pool, stage: str
) -> None:
    generation_id = await at(stage, client, players)
    answer = await client.cancel(generation_id)
    assert answer.status == 200
    cancelled = answer.json
    assert (cancelled["status"], cancelled["cost"], cancelled["error"]["code"]) == ("cancelled", 0, "cancelled")
    assert cancelled == await client.show(generation_id)
    assert await verdict_in_the_log(bus, generation_id) is Verdict.CANCELLED
    taken = await postgres.fetchval("SELECT taken FROM slots WHERE user_id = $1", client.user_id)
    assert taken == 0


async def test_cancelling_twice_is_the_same_as_once(client: Client, players: Players) -> None:
    generation_id = await at("requested", client, players)
    first, second = await client.cancel(generation_id), await client.cancel(generation_id)
    assert (first.status, second.status) == (200, 200)
    assert first.json == second.json


@contextlib.asynccontextmanager
async def writing(bus: NatsClient, players: Players, request: Request, text: str | None) -> AsyncIterator[list[str]]:
    """Somebody writes a text: asked to finish it, it is said to end with `text`; None: nothing was said of it yet."""
    asked: list[str] = []

    async def finish(message: Msg) -> None:
        asked.append(str(FinishText.model_validate_json(message.data).generation_id))
        if text is not None:
            ending = outcome_of(request, Verdict.COMPLETED).data.model_copy(update={"text": text, "cut_by": "cancel"})
            await players.say(Outcome.of(ending, "generator", None))
        await message.respond(FinishedText(is_finished=text is not None).model_dump_json().encode())

    subscription = await bus.subscribe(GENERATOR_FINISH_TEXT, cb=finish)
    await bus.flush()
    yield asked
    await subscription.unsubscribe()


async def test_a_text_that_was_read_ends_with_what_was_written(
    client: Client, players: Players, bus: NatsClient
) -> None:
    """Nobody reads a text for nothing; the wish was heeded all the same, and asking again says the same."""
    generation_id = await at("funded", client, players, kind="text", model=WRITER)
    request = await players.heard(generation_id)
    async with writing(bus, players, request, "Once upon a") as asked:
        first, second = await client.cancel(generation_id), await client.cancel(generation_id)
    assert asked == [generation_id]
    assert (first.status, first.json["status"], first.json["text"]) == (200, "completed", "Once upon a")
    assert first.json["cost"] > 0
    assert (second.status, second.json) == (200, first.json)


async def test_a_text_of_which_nothing_was_read_is_cancelled(client: Client, players: Players, bus: NatsClient) -> None:
    generation_id = await at("funded", client, players, kind="text", model=WRITER)
    async with writing(bus, players, await players.heard(generation_id), None) as asked:
        answer = await client.cancel(generation_id)
    assert asked == [generation_id]
    assert (answer.status, answer.json["status"], answer.json["cost"]) == (200, "cancelled", 0)


async def test_a_text_is_cancelled_in_time_though_its_writer_says_nothing(
    client: Client, players: Players, bus: NatsClient
) -> None:
    generation_id = await at("funded", client, players, kind="text", model=WRITER)
    subscription = await bus.subscribe(GENERATOR_FINISH_TEXT)
    await bus.flush()
    began_at = time.monotonic()
    answer = await client.cancel(generation_id)
    assert (answer.status, answer.json["status"]) == (200, "cancelled")
    assert FINISH_SECONDS <= time.monotonic() - began_at < FINISH_SECONDS + 2
    await subscription.unsubscribe()


@pytest.mark.parametrize("verdict", [Verdict.COMPLETED, Verdict.FAILED, Verdict.DECLINED])
async def test_what_has_ended_otherwise_is_409(client: Client, players: Players, verdict: Verdict) -> None:
    async def play(request: Request) -> None:
        await players.end(request, verdict)

    players.scripts[client.user_id] = play
    generation_id = (await client.accepted())["id"]
    ended = await client.ended(generation_id)
    answer = await client.cancel(generation_id)
    assert (answer.status, answer.json["code"]) == (409, "already_finished")
    assert await client.show(generation_id) == ended


async def test_an_outcome_that_the_row_does_not_show_yet_wins_all_the_same(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    """The log has it, the consumer does not: the cancel hears of it and writes it down."""
    generation_id = await at("requested", client, players)
    request = await players.heard(generation_id)
    async with postgres.acquire() as connection, connection.transaction():
        # The consumer of outcomes waits for this row.
        await connection.execute("SELECT 1 FROM generations WHERE id = $1 FOR UPDATE", UUID(generation_id))
        assert await players.end(request, Verdict.COMPLETED)
        answering = asyncio.create_task(client.cancel(generation_id))
        await asyncio.sleep(0.1)
    answer = await answering
    assert (answer.status, answer.json["code"]) == (409, "already_finished")
    assert (await client.show(generation_id))["status"] == "completed"


@pytest.mark.parametrize("foreign", [True, False], ids=["foreign", "unknown"])
async def test_what_is_not_ones_own_is_404(client_of: MakeClient, players: Players, foreign: bool) -> None:
    owner, stranger = client_of(), client_of()
    generation_id = await at("requested", owner, players)
    answer = await stranger.cancel(generation_id if foreign else str(uuid4()))
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert (await owner.show(generation_id))["status"] == "pending"


async def test_of_cancel_and_completion_one_wins_and_the_answer_agrees(
    client: Client, players: Players, bus: NatsClient, postgres: asyncpg.Pool
) -> None:
    players.scripts[client.user_id] = players.hold
    answered: dict[str, int] = {}
    completed: set[str] = set()

    async def race(number: int) -> None:
        generation_id = (await client.accepted(lane="batch" if number % 2 else "interactive"))["id"]
        request = await players.heard(generation_id, seconds=20)

        async def complete() -> None:
            await asyncio.sleep(longest * (number % 7) / 6)
            if await players.end(request, Verdict.COMPLETED):
                completed.add(generation_id)

        answer, _ = await asyncio.gather(client.cancel(generation_id), complete())
        answered[generation_id] = answer.status

    longest = 0.012
    for start in range(0, RACES, 8):
        before = len(completed)
        await asyncio.gather(*(race(number) for number in range(start, start + 8)))
        # However fast this machine is, neither wins always.
        longest *= {0: 0.5, 8: 2.0}.get(len(completed) - before, 1.0)

    async def all_final() -> bool:
        return not await postgres.fetchval(
            "SELECT count(*) FROM generations WHERE user_id = $1 AND outcome IS NULL", client.user_id
        )

    await until(all_final)
    rows = await postgres.fetch("SELECT id, status FROM generations WHERE user_id = $1", client.user_id)
    assert len(rows) == len(answered) == RACES
    for generation_id, status in map(tuple, rows):
        assert status == await verdict_in_the_log(bus, str(generation_id))
        assert answered[str(generation_id)] == (200 if status == "cancelled" else 409)
        assert (str(generation_id) in completed) == (status == "completed")
    assert 0 < len(completed) < RACES
    slots = await postgres.fetch("SELECT taken, waiting FROM slots WHERE user_id = $1", client.user_id)
    assert [tuple(slot) for slot in slots] == [(0, 0), (0, 0)]


async def test_a_cancel_that_cannot_be_written_down_in_time_is_still_agreed_to(
    client: Client, players: Players, postgres: asyncpg.Pool
) -> None:
    """Once the log has the outcome the answer is no 5xx: whoever consumes outcomes writes down what was not."""
    generation_id = await at("requested", client, players)
    async with postgres.acquire() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM slots WHERE user_id = $1 FOR UPDATE", client.user_id)
        answering = asyncio.create_task(client.cancel(generation_id))

        async def blocked() -> list[int]:
            found = await postgres.fetch(
                "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            return [row["pid"] for row in found]

        async def terminated() -> bool:
            for pid in await blocked():
                await postgres.execute("SELECT pg_terminate_backend($1)", pid)
            return answering.done()

        await until(terminated)
    answer = await answering
    assert (answer.status, answer.json["id"]) == (202, generation_id)
    assert (await client.ended(generation_id, 10))["status"] == "cancelled"
