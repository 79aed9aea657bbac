"""What the auditor reads."""

from __future__ import annotations

import asyncio
import hashlib
import json

import aiohttp
import pytest

from simulator.journal import Journal


async def test_an_answered_call_is_billed_with_its_identity(simulator, openai_body):
    headers = {"X-Client-Request-Id": "attempt-7", "Idempotency-Key": "key-7"}
    async with simulator.post("openai", openai_body | {"n": 2}, **headers) as answer:
        assert answer.status == 200
        request_id = answer.headers["x-request-id"]
    (entry,) = await simulator.journal()
    assert entry["body_sha256"] == hashlib.sha256(json.dumps(openai_body | {"n": 2}).encode()).hexdigest()
    assert (entry["provider"], entry["model"], entry["prompt"]) == ("openai", "gpt-image-2", openai_body["prompt"])
    assert (entry["billed"], entry["outcome"], entry["status"], entry["fault"]) == (2, "answered", 200, "")
    assert (entry["client_request_id"], entry["idempotency_key"]) == ("attempt-7", "key-7")
    assert request_id == f"req_{entry['request_id']}"


async def test_a_lost_answer_is_billed_and_known_before_the_client_notices(simulator, ark_body):
    with pytest.raises(aiohttp.ClientError):
        await simulator.post("ark", ark_body | {"prompt": "gone [[sim:lost]]"})
    (entry,) = await simulator.journal()
    assert (entry["billed"], entry["outcome"], entry["status"], entry["fault"]) == (1, "lost", 0, "lost")
    lines = simulator.journal_file.read_text().splitlines()
    assert json.loads(lines[-1]) == entry


async def test_a_client_that_leaves_still_pays(simulator, ark_body):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await simulator.post("ark", ark_body | {"prompt": "impatient [[sim:latency=0.3]]"})
    await asyncio.sleep(0.4)
    (entry,) = await simulator.journal()
    assert (entry["billed"], entry["outcome"]) == (1, "lost")


async def test_refusals_bill_nothing_and_since_selects(simulator, ark_body):
    async with simulator.post("ark", ark_body | {"n": 1}):
        pass
    async with simulator.post("ark", ark_body, key=None):
        pass
    first, second = await simulator.journal()
    assert [(entry["billed"], entry["outcome"], entry["status"]) for entry in (first, second)] == [
        (0, "refused", 400),
        (0, "refused", 401),
    ]
    assert second["sequence"] == first["sequence"] + 1
    assert await simulator.journal(first["sequence"]) == [second]
    await simulator.admin("DELETE", "journal")
    assert await simulator.journal() == []


async def test_a_partial_group_bills_what_it_delivers(simulator, ark_body):
    group = {
        "model": "seedream-4-0-250828",
        "size": "1K",
        "prompt": "group [[sim:partial=1+4]]",
        "sequential_image_generation": "auto",
        "sequential_image_generation_options": {"max_images": 5},
    }
    async with simulator.post("ark", group) as answer:
        assert [("error" in item) for item in (await answer.json())["data"]] == [True, False, False, True, False]
    (entry,) = await simulator.journal()
    assert (entry["billed"], entry["fault"]) == (3, "partial")


def test_a_restart_continues_the_sequence(tmp_path):
    path = tmp_path / "journal.jsonl"
    fields = {"provider": "ark", "model": "m", "prompt": "p", "billed": 1, "outcome": "answered", "status": 200}
    rest = {"fault": "", "request_id": "r", "client_request_id": "", "idempotency_key": "", "body_sha256": ""}
    before = Journal(path)
    before.write(time=1.0, **fields, **rest)
    before.close()
    with path.open("a") as torn:
        torn.write('{"sequence": 2, "ti')
    after = Journal(path)
    assert after.sequence == 1
    assert after.write(time=2.0, **fields, **rest).sequence == 2
    after.close()
    assert len(Journal(path).since(0)) == 2
