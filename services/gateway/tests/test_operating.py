"""/v1/operator: for operators alone; the figures, the models and the dead letters as they are."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient
from nats.aio.msg import Msg

from contracts.facts import Kind
from contracts.questions import (
    GENERATOR_FIGURES,
    GENERATOR_MODELS,
    GENERATOR_SWITCH_MODEL,
    LEDGER_FIGURES,
    CatalogModel,
    ListedModel,
    Models,
    SwitchedModel,
    SwitchModel,
)
from contracts.topology import dead_subject
from contracts.watching import BookFigures, Breaker, OpenHold, ProviderFigures, UnknownAttempt, WorkFigures

from .client import Client, token
from .conftest import MakeClient
from .players import SEEDREAM, Players

pytestmark = pytest.mark.connected
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
ROUTES = [
    ("GET", "/v1/operator/house", None),
    ("GET", "/v1/operator/models", None),
    ("PUT", f"/v1/operator/models/{SEEDREAM}", {"on": False}),
    ("GET", "/v1/operator/letters", None),
    ("POST", "/v1/operator/letters/1/replay", None),
    ("DELETE", "/v1/operator/letters/1", None),
]
ROLES = {"app_metadata": {"roles": ["operator"]}}
OTHERS: list[dict[str, Any]] = [
    {},
    {"role": "operator"},
    {"role": "service_role"},
    {"user_metadata": {"roles": ["operator"]}},
    {"app_metadata": {"roles": "operator"}},
    {"app_metadata": {"roles": ["operators"]}},
    {"app_metadata": "operator"},
]
WORK = WorkFigures(
    open_work=3,
    providers=(
        ProviderFigures(
            provider="modelark",
            rendered=8,
            failed=1,
            unknown=1,
            running=2,
            p50_seconds=1.5,
            p95_seconds=4.0,
            cost_micros=150_000,
        ),
    ),
    unknown=(UnknownAttempt(id=uuid4(), generation_id=uuid4(), provider="modelark", model=SEEDREAM, began_at=NOW),),
    breakers=(Breaker(provider="openai", model="dall-e-2", open_until=NOW),),
)
BOOK = BookFigures(
    open_holds=1,
    open_units=15_000,
    oldest=(OpenHold(generation_id=uuid4(), units=15_000, opened_at=NOW),),
    captured=80_000,
    captures=8,
)
LISTED = ListedModel(
    model=CatalogModel(id=SEEDREAM, kind=Kind.IMAGE, provider="modelark"), provider_model="seedream", has_key=True
)


@pytest.fixture
def operator(client_of: MakeClient) -> Client:
    return client_of(bearer=token(uuid4(), **ROLES))


@pytest.fixture
async def house(bus: NatsClient) -> AsyncIterator[list[SwitchModel]]:
    """The ledger and the generator answer; what was switched."""
    switched: list[SwitchModel] = []

    async def answer(message: Msg) -> None:
        if message.subject == GENERATOR_SWITCH_MODEL:
            asked = SwitchModel.model_validate_json(message.data)
            switched.append(asked)
            known = asked.id == SEEDREAM
            said = SwitchedModel(model=LISTED) if known else SwitchedModel(problem="There is no model 'nope'.")
            await message.respond(said.model_dump_json().encode())
        else:
            told = {
                LEDGER_FIGURES: BOOK,
                GENERATOR_FIGURES: WORK,
                GENERATOR_MODELS: Models(version=1, models=(LISTED,)),
            }
            await message.respond(told[message.subject].model_dump_json().encode())

    subjects = (LEDGER_FIGURES, GENERATOR_FIGURES, GENERATOR_MODELS, GENERATOR_SWITCH_MODEL)
    heard = [await bus.subscribe(subject, cb=answer) for subject in subjects]
    for _ in range(2):
        await bus.flush()
    yield switched
    for subscription in heard:
        await subscription.unsubscribe()


async def put_letter(bus: NatsClient, subject: str, payload: str = "{}", reason: str = "it broke") -> int:
    """As a consumer does that gives up; its number."""
    letter = {"consumer": "ledger-hold-requested", "subject": subject, "reason": reason, "deliveries": 5}
    body = json.dumps(letter | {"payload": payload}).encode()
    return (await bus.jetstream().publish(dead_subject("ledger-hold-requested"), body)).seq


# -- for whom --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path", "body"), ROUTES, ids=[f"{method} {path}" for method, path, _ in ROUTES])
async def test_nobody_else_gets_anything(
    client_of: MakeClient, nobody: Client, house: list[SwitchModel], method: str, path: str, body: Any
) -> None:
    assert (await nobody.request(method, path, json=body)).status == 401
    for claims in OTHERS:
        answer = await client_of(bearer=token(uuid4(), **claims)).request(method, path, json=body)
        assert (answer.status, answer.json["code"]) == (403, "operators_only"), claims
    assert house == []


async def test_a_key_of_an_operator_is_no_operator(client_of: MakeClient, operator: Client) -> None:
    scopes = ["read", "write", "account"]
    made = (await operator.post("/v1/api-keys", json={"name": "all", "scopes": scopes})).json
    answer = await client_of(bearer=made["key"]).get("/v1/operator/house")
    assert (answer.status, answer.json["code"]) == (403, "operators_only")


# -- the house -------------------------------------------------------------------------------------------------------


async def test_the_house_is_seen_at_once(operator: Client, client: Client, house: list[SwitchModel]) -> None:
    generation = await client.accepted()
    await client.ended(generation["id"])
    answer = await operator.get("/v1/operator/house?minutes=5")
    assert answer.status == 200
    seen = answer.json
    completed = {each["kind"]: each for each in seen["accepted"] if each["status"] == "completed"}
    assert completed["image"]["number"] >= 1
    assert completed["image"]["p50_seconds"] <= completed["image"]["p95_seconds"]
    assert len(seen["by_minute"]) == 5
    assert sum(seen["by_minute"]) >= 1
    assert seen["providers"][0]["p95_seconds"] == 4
    assert (seen["open_work"], seen["open_holds"], seen["open_credits"]) == (3, 1, 1.5)
    assert seen["oldest_holds"][0]["credits"] == 1.5
    assert seen["unknown_attempts"][0]["model"] == SEEDREAM
    assert seen["breakers"][0]["provider"] == "openai"
    assert seen["money"] == {
        "captured": 8,
        "captures": 8,
        "revenue_micros": 800_000,
        "cost_micros": 150_000,
        "margin_micros": 650_000,
    }
    lag = {each["consumer"]: each["waiting"] for each in seen["lag"]}
    assert lag["gateway-record-outcomes"] is not None
    assert len(lag) == 18


async def test_who_is_silent_leaves_a_gap(operator: Client) -> None:
    seen = (await operator.get("/v1/operator/house")).json
    assert seen["providers"] is seen["open_holds"] is seen["money"] is None
    assert len(seen["by_minute"]) == 60
    assert (await operator.get("/v1/operator/models")).status == 503


@pytest.mark.parametrize("minutes", [0, -1, 1441, "x"])
async def test_the_time_is_bounded(operator: Client, minutes: object) -> None:
    assert (await operator.get(f"/v1/operator/house?minutes={minutes}")).status == 422


async def test_models_are_switched(operator: Client, house: list[SwitchModel]) -> None:
    (model,) = (await operator.get("/v1/operator/models")).json["items"]
    assert (model["id"], model["provider_model"], model["has_key"]) == (SEEDREAM, "seedream", True)
    answer = await operator.request("PUT", f"/v1/operator/models/{SEEDREAM}", json={"on": False})
    assert (answer.status, answer.json["id"]) == (200, SEEDREAM)
    assert house == [SwitchModel(id=SEEDREAM, on=False)]
    unknown = await operator.request("PUT", "/v1/operator/models/nope", json={"on": True})
    assert (unknown.status, unknown.json["code"]) == (422, "model_not_found")


# -- dead letters ----------------------------------------------------------------------------------------------------


async def test_a_letter_is_replayed_by_driving_its_generation(
    operator: Client, client: Client, players: Players, bus: NatsClient
) -> None:
    players.scripts[client.user_id] = players.hold
    generation = await client.accepted()
    await players.heard(generation["id"])
    sequence = await put_letter(bus, f"generation.funded.image.interactive.{generation['id']}")
    listed = (await operator.get(f"/v1/operator/letters?after={sequence - 1}")).json["items"]
    letter = next(each for each in listed if each["sequence"] == sequence)
    assert (letter["generation_id"], letter["reason"], letter["deliveries"]) == (generation["id"], "it broke", 5)
    answer = await operator.post(f"/v1/operator/letters/{sequence}/replay")
    assert answer.status == 200, answer.text
    await players.heard(generation["id"], times=2)
    assert (await operator.get(f"/v1/operator/letters?after={sequence - 1}")).json["items"] == []
    assert (await operator.post(f"/v1/operator/letters/{sequence}/replay")).status == 404


async def test_an_outcome_that_the_gateway_alone_missed_is_taken_from_the_log(
    operator: Client, client: Client, players: Players, bus: NatsClient, postgres: asyncpg.Pool
) -> None:
    """Driven, it would be said again and refused there: nobody would hear it."""
    generation = await client.accepted()
    ended = await client.ended(generation["id"])
    missed = """UPDATE generations SET status = 'processing', outcome = NULL, completed_at = NULL, published = $2
        WHERE id = $1"""
    for published in (True, False):
        await postgres.execute(missed, UUID(generation["id"]), published)
        sequence = await put_letter(bus, f"generation.outcome.{generation['id']}")
        answer = await operator.post(f"/v1/operator/letters/{sequence}/replay")
        assert answer.status == 200, answer.text
        again = await client.show(generation["id"])
        assert (again["status"], again["cost"]) == (ended["status"], ended["cost"])
    assert len(players.of(client.user_id)) == 1, "nothing was driven"


async def test_an_outcome_that_cannot_be_read_keeps_its_letter(
    operator: Client, client: Client, players: Players, bus: NatsClient
) -> None:
    players.scripts[client.user_id] = players.hold
    generation = await client.accepted()
    await players.heard(generation["id"])
    await bus.jetstream().publish(f"generation.outcome.{generation['id']}", b"{}")
    sequence = await put_letter(bus, f"generation.outcome.{generation['id']}", "{}")
    answer = await operator.post(f"/v1/operator/letters/{sequence}/replay")
    assert (answer.status, answer.json["code"]) == (503, "unavailable")
    assert (await operator.request("DELETE", f"/v1/operator/letters/{sequence}")).status == 204


async def test_what_has_ended_is_not_driven(
    operator: Client, client: Client, players: Players, bus: NatsClient
) -> None:
    generation = await client.accepted()
    await client.ended(generation["id"])
    sequence = await put_letter(bus, f"generation.outcome.{generation['id']}")
    answer = await operator.post(f"/v1/operator/letters/{sequence}/replay")
    assert (answer.status, answer.json["code"]) == (409, "already_finished")
    assert (await operator.request("DELETE", f"/v1/operator/letters/{sequence}")).status == 204
    assert (await operator.request("DELETE", f"/v1/operator/letters/{sequence}")).status == 404


@pytest.mark.parametrize("subject", ["credits.granted.x", "generation.requested.image.interactive.x", ""])
async def test_a_letter_about_nothing_known_is_only_dropped(operator: Client, bus: NatsClient, subject: str) -> None:
    sequence = await put_letter(bus, subject)
    (letter,) = (await operator.get(f"/v1/operator/letters?after={sequence - 1}")).json["items"]
    assert letter["generation_id"] is None
    assert (await operator.post(f"/v1/operator/letters/{sequence}/replay")).status == 404
    assert (await operator.request("DELETE", f"/v1/operator/letters/{sequence}")).status == 204


@pytest.mark.parametrize("body", [b"", b"\xff", b"[]", b"null", b'{"consumer": 1}', b'"x"'])
async def test_what_is_no_letter_is_shown_all_the_same(operator: Client, bus: NatsClient, body: bytes) -> None:
    sequence = (await bus.jetstream().publish("dead.somebody", body)).seq
    (letter,) = (await operator.get(f"/v1/operator/letters?after={sequence - 1}")).json["items"]
    assert (letter["consumer"], letter["reason"]) == ("somebody", "It is no letter.")
    assert (await operator.request("DELETE", f"/v1/operator/letters/{sequence}")).status == 204


async def test_a_message_that_the_broker_gave_up_is_found(
    operator: Client, client: Client, players: Players, bus: NatsClient
) -> None:
    players.scripts[client.user_id] = players.hold
    generation = await client.accepted()
    await players.heard(generation["id"])
    subject = f"generation.requested.image.interactive.{generation['id']}"
    message = await bus.jetstream().get_last_msg("GENERATION", subject)
    advisory = {
        "stream": "GENERATION",
        "consumer": "ledger-hold-requested",
        "stream_seq": message.seq,
        "deliveries": 12,
    }
    where = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.GENERATION.ledger-hold-requested"
    sequence = (await bus.jetstream().publish(where, json.dumps(advisory).encode())).seq
    (letter,) = (await operator.get(f"/v1/operator/letters?after={sequence - 1}")).json["items"]
    assert (letter["subject"], letter["generation_id"], letter["deliveries"]) == (subject, generation["id"], 12)
    assert (await operator.post(f"/v1/operator/letters/{sequence}/replay")).status == 200
    await players.heard(generation["id"], times=2)
