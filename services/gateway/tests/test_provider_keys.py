"""Users' own provider keys: handed on, and never said again."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from nats.aio.client import Client as NatsClient

from contracts.questions import GENERATOR_KEYS, GENERATOR_SET_KEY, Keys, KeySet, KeysOf, SetKey

from .client import Client

pytestmark = pytest.mark.connected
SET_AT = datetime(2026, 11, 21, tzinfo=UTC)
CANARY = "sk-canary-of-a-users-key-1234"


class Vault:
    """Plays the generator."""

    def __init__(self) -> None:
        self.asked: list[SetKey] = []
        self.is_offered = True

    async def keys(self, message: Any) -> None:
        user_id = KeysOf.model_validate_json(message.data).user_id
        await message.respond(self._of(user_id).model_dump_json().encode())

    async def set(self, message: Any) -> None:
        asked = SetKey.model_validate_json(message.data)
        if self.is_offered:
            self.asked.append(asked)
        answer = self._of(asked.user_id) if self.is_offered else Keys(keys=(), is_offered=False)
        await message.respond(answer.model_dump_json().encode())

    def _of(self, user_id: Any) -> Keys:
        latest = {asked.provider: asked.key for asked in self.asked if asked.user_id == user_id}
        return Keys(
            keys=tuple(KeySet(provider=name, last4=key[-4:], set_at=SET_AT) for name, key in latest.items() if key)
        )


@pytest.fixture
async def vault(bus: NatsClient) -> AsyncIterator[Vault]:
    vault = Vault()
    heard = [
        await bus.subscribe(GENERATOR_KEYS, cb=vault.keys),
        await bus.subscribe(GENERATOR_SET_KEY, cb=vault.set),
    ]
    await bus.flush()
    await bus.flush()
    yield vault
    for subscription in heard:
        await subscription.unsubscribe()


async def test_a_key_is_set_shown_by_its_end_and_forgotten(client: Client, vault: Vault) -> None:
    path = "/v1/provider-keys/openai"
    answer = await client.request("PUT", path, json={"key": CANARY})
    assert answer.status == 200
    assert answer.json["items"] == [{"provider": "openai", "last4": "1234", "set_at": "2026-11-21T00:00:00Z"}]
    assert CANARY not in answer.text
    assert vault.asked[0] == SetKey(user_id=client.user_id, provider="openai", key=CANARY)
    assert (await client.get("/v1/provider-keys")).json == answer.json
    assert (await client.request("DELETE", path)).json == {"items": []}


async def test_nobody_sees_or_changes_the_keys_of_others(client: Client, client_of: Any, vault: Vault) -> None:
    await client.request("PUT", "/v1/provider-keys/openai", json={"key": CANARY})
    stranger = client_of()
    assert (await stranger.get("/v1/provider-keys")).json == {"items": []}
    await stranger.request("DELETE", "/v1/provider-keys/openai")
    assert len((await client.get("/v1/provider-keys")).json["items"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"key": "short"},
        {"key": 5},
        {"key": CANARY, "user_id": "x"},
        {},
        {"key": "x" * 501},
        {"key": "\ud800" * 10},
        {"key": "clé secrète"},
        {"key": "two\nlines"},
    ],
)
async def test_what_is_no_key_is_refused_without_repeating_it(client: Client, vault: Vault, body: Any) -> None:
    answer = await client.request("PUT", "/v1/provider-keys/openai", json=body)
    assert answer.status == 422
    assert CANARY not in answer.text
    assert vault.asked == []


@pytest.mark.parametrize("provider", ["Open%20AI", "x" * 51, "a.b"])
async def test_what_is_no_provider_is_refused(client: Client, vault: Vault, provider: str) -> None:
    assert (await client.request("PUT", f"/v1/provider-keys/{provider}", json={"key": CANARY})).status == 422


async def test_where_it_is_not_set_up_it_is_said(client: Client, vault: Vault) -> None:
    vault.is_offered = False
    answer = await client.request("PUT", "/v1/provider-keys/openai", json={"key": CANARY})
    assert (answer.status, answer.json["code"]) == (501, "not_configured")


async def test_while_the_generator_is_silent_nothing_is_set(client: Client) -> None:
    answer = await client.request("PUT", "/v1/provider-keys/openai", json={"key": CANARY})
    assert (answer.status, answer.json["code"]) == (503, "unavailable")
    assert CANARY not in answer.text
