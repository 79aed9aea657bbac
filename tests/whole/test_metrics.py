"""A stack that worked shows what it did, and its logs say nothing of what was asked for."""

import asyncio
import re
import time
from collections.abc import Callable

import aiohttp
import pytest

from tests.architecture.test_operations import OTHERS, expressions, metrics_of
from tests.whole.conftest import Darkroom, User

pytestmark = pytest.mark.whole

PROMPT = "a canary-coloured lighthouse that no log may name"


async def figures(darkroom: Darkroom, session: aiohttp.ClientSession) -> dict[str, str]:
    """Service → what it exports."""
    shown = {}
    for service in ("gateway", "generator", "storage", "ledger"):
        async with session.get(f"http://127.0.0.1:{darkroom.known['ports'][service]}/metrics") as answer:
            assert answer.status == 200
            shown[service] = await answer.text()
    return shown


def value(text: str, sample: str) -> float:
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    return float(found.group(1)) if found else 0.0


async def test_every_figure_of_boards_and_alerts_is_there(
    darkroom: Darkroom, session: aiohttp.ClientSession, new_user: Callable[[], User]
) -> None:
    user = new_user()
    before = await figures(darkroom, session)
    made = await user.make(PROMPT)
    assert (await user.ended(made["id"]))["status"] == "completed"
    accepted = 'generations_accepted_total{kind="image",lane="interactive"}'
    ended = 'generations_ended_total{kind="image",verdict="completed"}'
    give_up_at = time.monotonic() + 30
    while True:
        after = await figures(darkroom, session)
        settled = value(after["ledger"], "credits_captured_units_total") > value(
            before["ledger"], "credits_captured_units_total"
        )
        if (settled and "consumer_lag{" in after["gateway"]) or time.monotonic() > give_up_at:
            break
        await asyncio.sleep(0.1)
    assert settled
    for sample in (accepted, ended):
        assert value(after["gateway"], sample) == value(before["gateway"], sample) + 1
    types = set(re.findall(r"^# TYPE (\w+) ", "\n".join(after.values()), re.MULTILINE))
    names = types | {f"{name}_bucket" for name in types}
    named = set().union(*(metrics_of(expression) for _, expression in expressions())) - OTHERS
    assert named <= names


async def test_logs_name_no_prompt_and_no_secret(
    darkroom: Darkroom, session: aiohttp.ClientSession, new_user: Callable[[], User]
) -> None:
    """Canaries through everything that takes one: prompts that succeed and fail, keys, passwords, signed addresses."""
    user = new_user()
    made = await user.ended((await user.make(PROMPT))["id"])
    refused = await user.ended((await user.make(f"{PROMPT} [[sim:status=400]]"))["id"])
    assert (made["status"], refused["status"]) == ("completed", "failed")
    told = await user.call("POST", "/v1/generations", json={"kind": "image", "prompt": PROMPT, "size": "canary"})
    assert told[0] == 422
    secrets = [darkroom.token(user.id).rpartition(".")[2], *_secrets(darkroom)]
    status, key, _ = await user.call("POST", "/v1/api-keys", json={"name": "canary"})
    assert status == 201, key
    status, webhook, _ = await user.call("POST", "/v1/webhooks", json={"url": "https://canary.example/told"})
    assert status == 201, webhook
    signup = {"email": f"{user.id}@canary.example", "password": "canary-coloured password"}
    async with session.post(f"{darkroom.url}/auth/v1/signup", json=signup) as answer:
        signed_up = await answer.json()
        assert answer.status == 200, signed_up
    for header in (key["key"], signed_up["access_token"], "sk-canary-coloured"):
        async with session.get(f"{darkroom.url}/v1/credits", headers={"Authorization": f"Bearer {header}"}) as answer:
            assert answer.status == (401 if header.startswith("sk-") else 200)
    secrets += [key["key"], webhook["secret"], signed_up["access_token"], signed_up["refresh_token"]]
    assert len(secrets) > 10
    logs = {path.name: path.read_text() for path in (darkroom.data / "logs").glob("*.log")}
    for generation in (made, refused):
        assert any(generation["id"] in text for text in logs.values()), "it is worked on, and logged"
    for name, text in logs.items():
        assert "canary-coloured" not in text, name
        assert not [secret[:4] for secret in secrets if secret in text], name


def _secrets(darkroom: Darkroom) -> list[str]:
    """Everything that the stack keeps to itself."""

    def leaves(value: object) -> list[str]:
        if isinstance(value, dict):
            return [leaf for item in value.values() for leaf in leaves(item)]
        return [value] if isinstance(value, str) and len(value) >= 16 else []

    import json

    return leaves(json.loads((darkroom.data / "secrets.json").read_text()))
