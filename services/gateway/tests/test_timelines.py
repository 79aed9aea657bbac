"""GET /v1/generations/{id}/timeline: the facts that the log keeps, and what the services' rows remember."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from contracts.questions import GENERATOR_COURSE, LEDGER_COURSE, STORAGE_COURSE
from contracts.watching import Course, CourseOf, Moment

from .client import Client, until
from .conftest import MakeClient
from .players import SEEDREAM

pytestmark = pytest.mark.connected
LONG_AGO = datetime(2026, 11, 21, 12, tzinfo=UTC)
TRACE = "0af7651916cd43dd8448eb211c80319c"
COURSES = {
    LEDGER_COURSE: (
        Moment(step="held", at=LONG_AGO, state="open", units=10_000),
        Moment(step="settled", at=LONG_AGO + timedelta(seconds=9), state="captured", units=10_000),
    ),
    GENERATOR_COURSE: (
        Moment(
            step="attempt",
            at=LONG_AGO + timedelta(seconds=1),
            ended_at=LONG_AGO + timedelta(seconds=2),
            state="failed",
            provider="modelark",
            model=SEEDREAM,
            number=1,
            code="provider_unavailable",
        ),
    ),
    STORAGE_COURSE: (Moment(step="stored", at=LONG_AGO + timedelta(seconds=5), state="stored", number=0),),
}


@pytest.fixture
async def asked(bus: NatsClient) -> AsyncIterator[list[UUID]]:
    """Whom the services were asked about; all three answer."""
    ids: list[UUID] = []

    async def answer(message: Msg) -> None:
        ids.append(CourseOf.model_validate_json(message.data).generation_id)
        await message.respond(Course(moments=COURSES[message.subject]).model_dump_json().encode())

    heard = [await bus.subscribe(subject, cb=answer) for subject in COURSES]
    for _ in range(2):
        await bus.flush()
    yield ids
    for subscription in heard:
        await subscription.unsubscribe()


async def test_every_step_is_shown_in_the_order_of_time(client: Client, asked: list[UUID]) -> None:
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01", "Prefer": "wait=5"}
    body = {"kind": "image", "prompt": "A lighthouse"}
    generation = (await client.post("/v1/generations", headers, json=body)).json
    answer = await client.get(f"/v1/generations/{generation['id']}/timeline")
    assert answer.status == 200
    shown = answer.json
    assert (shown["generation_id"], shown["trace_id"], shown["silent"]) == (generation["id"], TRACE, [])
    assert asked == [UUID(generation["id"])] * 3
    times = [datetime.fromisoformat(step["at"]) for step in shown["steps"]]
    assert times == sorted(times)
    rows = [step for step in shown["steps"] if step["stream"] is None]
    facts = {step["step"]: step for step in shown["steps"] if step["stream"]}
    assert [step["step"] for step in rows[:4]] == ["held", "attempt", "stored", "settled"]
    assert {step["step"] for step in rows[4:]} == {"accepted", "recorded"}
    assert {name: (fact["by"], fact["stream"]) for name, fact in facts.items() if name != "notified"} == {
        "requested": ("gateway", "GENERATION"),
        "funded": ("ledger", "GENERATION"),
        "rendered": ("generator", "GENERATION"),
        "outcome": ("storage", "OUTCOMES"),
    }
    assert all(fact["sequence"] >= 1 for fact in facts.values())
    attempt = rows[1]
    assert (attempt["by"], attempt["provider"], attempt["code"]) == ("generator", "modelark", "provider_unavailable")
    assert (rows[0]["credits"], rows[3]["credits"], rows[3]["state"]) == (1, 1, "captured")


async def test_what_the_client_was_told_is_a_step_and_only_of_this_generation(
    client: Client, asked: list[UUID]
) -> None:
    first, second = [await client.accepted(), await client.accepted()]
    for generation in (first, second):
        await client.ended(generation["id"])

    async def notified(generation: Any) -> list[Any]:
        shown = (await client.get(f"/v1/generations/{generation['id']}/timeline")).json
        return [step for step in shown["steps"] if step["step"] == "notified"]

    (told,) = await until(partial(notified, second))
    assert (told["by"], told["stream"]) == ("gateway", "NOTIFICATIONS")
    (earlier,) = await until(partial(notified, first))
    assert earlier["sequence"] != told["sequence"]


async def test_who_does_not_answer_is_named(client: Client) -> None:
    generation = await client.accepted()
    shown = (await client.get(f"/v1/generations/{generation['id']}/timeline")).json
    assert shown["silent"] == ["ledger", "generator", "storage"]
    assert {"accepted", "requested"} <= {step["step"] for step in shown["steps"]}


async def test_somebody_elses_is_unknown(client: Client, client_of: MakeClient, asked: list[UUID]) -> None:
    generation = await client.accepted()
    answer = await client_of().get(f"/v1/generations/{generation['id']}/timeline")
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    assert (await client_of(bearer=None).get(f"/v1/generations/{generation['id']}/timeline")).status == 401
    assert asked == []
