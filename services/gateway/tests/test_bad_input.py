"""Bad input gets a clear error and changes nothing (reliability.md (c); the numbers are its rows)."""

import asyncio
import gzip
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import pytest

from .client import IMAGE, Answer, Client
from .conftest import MakeClient, Service
from .players import SEEDREAM, Players

pytestmark = pytest.mark.connected

JSON = {"Content-Type": "application/json"}
LIMIT = 1 << 20

NOBODYS = UUID("3f0d7c9e-5a41-4c7b-8a52-6d1e0b9f4c33")
"""Of no generation. Always the same, so that parallel runs collect the same tests."""


async def assert_refused(answer: Answer, status: int, code: str, client: Client, postgres: asyncpg.Pool) -> None:
    """A problem in the native shape, and not a row of this user."""
    assert answer.status == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json
    assert {name: problem[name] for name in ("status", "code", "type")} == {
        "status": status,
        "code": code,
        "type": f"urn:darkroom:problem:{code}",
    }
    assert problem["title"]
    assert problem["detail"]
    assert "Traceback" not in answer.text
    assert len(answer.text) < 4000
    assert await rows_of(client, postgres) == (0, 0)


async def rows_of(client: Client, postgres: asyncpg.Pool) -> tuple[int, int]:
    """Generations and slots of a user."""
    found = await postgres.fetchrow(
        "SELECT (SELECT count(*) FROM generations WHERE user_id = $1), (SELECT count(*) FROM slots WHERE user_id = $1)",
        client.user_id,
    )
    return tuple(found)


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


INVALID = [
    pytest.param({"prompt": ""}, "prompt", id="B6 prompt empty"),
    pytest.param({"prompt": " \t\n\u3000"}, "prompt", id="B6 prompt of spaces"),
    pytest.param({"prompt": "x" * 100_000}, "prompt", id="B6 prompt of 100 000 characters"),
    pytest.param({"prompt": "a\0b"}, "prompt", id="B7 NUL in the prompt"),
    pytest.param({"prompt": "a\ud800b"}, "prompt", id="B7 lone surrogate in the prompt"),
    pytest.param({"prompt": 5}, "prompt", id="B2 prompt a number"),
    pytest.param({"prompt": ["x"]}, "prompt", id="B2 prompt a list"),
    pytest.param({"prompt": None}, "prompt", id="B2 prompt null"),
    pytest.param({"kind": "hologram"}, "kind", id="B2 unknown kind"),
    pytest.param({"lane": "fast"}, "lane", id="B2 unknown lane"),
    pytest.param({"size": "333x333"}, "size", id="B10 size not offered"),
    pytest.param({"size": "1024X1024"}, "size", id="B10 size in other letters"),
    pytest.param({"size": ""}, "size", id="B10 size empty"),
    pytest.param({"size": "1024x1024\0"}, "size", id="B10 size with NUL"),
    pytest.param({"size": "\ud800"}, "size", id="B7 lone surrogate for a size"),
    pytest.param({"size": "9" * 100_000}, "size", id="B10 size of 100 000 digits"),
    pytest.param({"size": 1024}, "size", id="B2 size a number"),
    pytest.param({"model": "old-image", "size": "64x64"}, "size", id="B10 size of a model without sizes"),
    *(
        pytest.param({"count": count}, "count", id=f"B9 B10 count {json.dumps(count)}")
        for count in (0, 5, -1, 10**6, 10**18, 10**100, "1", True, 1.0, 1.5, None, [1], {})
    ),
    pytest.param({"model": "old-image", "count": 5}, "count", id="B10 count over ours where the model allows more"),
    pytest.param({"options": "x"}, "options", id="B2 options a text"),
    pytest.param({"options": {"a": "\0"}}, "options", id="B7 NUL in the options"),
    pytest.param({"options": {"a\0": 1}}, "options", id="B7 NUL in a name of an option"),
    pytest.param({"options": {"a": [{"b": "\ud800"}]}}, "options", id="B7 lone surrogate in the options"),
    pytest.param({"options": {"\udfff": 1}}, "options", id="B7 lone surrogate in a name of an option"),
    pytest.param({"options": {"a": float("nan")}}, "options", id="B4 NaN"),
    pytest.param({"options": {"a": [float("inf")]}}, "options", id="B4 Infinity"),
    pytest.param({"options": {"a": -float("inf")}}, "options", id="B4 -Infinity"),
    *(
        pytest.param({"options": {"a": json.loads(nested(depth))}}, "options", id=f"B4 options nested {depth} deep")
        for depth in (50, 128, 250, 300, 500, 700)
    ),
    *(
        pytest.param({name: value}, name, id=f"B2 B21 extra field {name}")
        for name, value in [
            ("extra", 1),
            ("user_id", str(NOBODYS)),
            ("price", 0),
            ("quote", 0),
            ("status", "completed"),
            ("is_admin", True),
            ("\ud800", 1),
            ("x" * 100_000, 1),
        ]
    ),
]


@pytest.mark.parametrize(("fields", "field"), INVALID)
async def test_invalid_fields_are_named_and_nothing_changes(
    client: Client, postgres: asyncpg.Pool, fields: dict[str, Any], field: str
) -> None:
    answer = await client.post("/v1/generations", JSON, data=json.dumps(IMAGE | fields))
    await assert_refused(answer, 422, "invalid_request", client, postgres)
    named = [error["field"].split(".")[0] for error in answer.json["errors"]]
    assert named == [field if field.isascii() and len(field) < 100 else named[0]]


@pytest.mark.parametrize("missing", ["kind", "prompt"])
async def test_what_is_missing_is_named(client: Client, postgres: asyncpg.Pool, missing: str) -> None:
    body = {name: value for name, value in IMAGE.items() if name != missing}
    answer = await client.post("/v1/generations", json=body)
    await assert_refused(answer, 422, "invalid_request", client, postgres)
    assert answer.json["errors"][0]["field"] == missing


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "nope"},
        {"model": ""},
        {"model": SEEDREAM.upper()},
        {"model": f" {SEEDREAM}"},
        {"model": "switched-off"},
        {"model": "unpriced"},
        {"model": "a-voice"},
        {"model": "m\0"},
        {"model": "\ud800"},
        {"model": "x" * 100_000},
        {"kind": "video", "model": SEEDREAM},
    ],
    ids=lambda fields: str(fields)[:40],
)
async def test_models_that_are_not_offered(client: Client, postgres: asyncpg.Pool, fields: dict[str, str]) -> None:
    """B11; off and unpriced ones are not offered, nor is one of another kind."""
    await assert_refused(await client.create(**fields), 422, "model_not_found", client, postgres)


@pytest.mark.parametrize(
    ("path", "body"), [("quotes", IMAGE), ("batches", {"items": [IMAGE]})], ids=["quotes", "batches"]
)
async def test_a_model_that_is_no_text_is_refused_wherever_it_is_named(
    client: Client, postgres: asyncpg.Pool, path: str, body: dict[str, Any]
) -> None:
    """B7"""
    asked = json.dumps(body).replace('"kind"', '"model": "\\ud800", "kind"')
    answer = await client.post(f"/v1/{path}", JSON, data=asked)
    await assert_refused(answer, 422, "model_not_found", client, postgres)
    assert answer.json["model"] == "\\ud800"


BODIES = [
    pytest.param(b"", 422, "invalid_request", id="B1 no body"),
    pytest.param(b"{", 400, "malformed_body", id="B1 truncated"),
    pytest.param(b"{'kind': 'image'}", 400, "malformed_body", id="B1 not JSON"),
    pytest.param(b"[]", 422, "invalid_request", id="B2 a list"),
    pytest.param(b"null", 422, "invalid_request", id="B2 null"),
    pytest.param(b'"x"', 422, "invalid_request", id="B2 a text"),
    pytest.param(b"NaN", 422, "invalid_request", id="B4 NaN alone"),
    pytest.param(nested(10_000).encode(), 400, "malformed_body", id="B4 10 000 deep"),
    pytest.param(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400, "malformed_body", id="B4 objects 10 000 deep"),
    pytest.param(b'{"count": ' + b"9" * 1_000_000 + b"}", 400, "malformed_body", id="B4 1 MB of digits"),
    pytest.param(b'{"kind":"image","prompt":"x","options":{"a":1e999}}', 422, "invalid_request", id="B4 1e999"),
    pytest.param(b'{"kind":"image","prompt":"\xff\xfe"}', 400, "malformed_body", id="B7 not UTF-8"),
    pytest.param(gzip.compress(b"garbage"), 400, "malformed_body", id="gzip"),
    pytest.param(b'{"prompt":"' + b"x" * LIMIT + b'"}', 413, "body_too_large", id="B3 over the limit"),
]


@pytest.mark.parametrize(("body", "status", "code"), BODIES)
async def test_bodies_that_are_no_request(
    client: Client, postgres: asyncpg.Pool, body: bytes, status: int, code: str
) -> None:
    started = time.perf_counter()
    answer = await client.post("/v1/generations", JSON, data=body)
    seconds = time.perf_counter() - started
    await assert_refused(answer, status, code, client, postgres)
    assert seconds < 1


async def test_a_body_without_a_length_is_cut_off_at_the_limit(client: Client, postgres: asyncpg.Pool) -> None:
    """B3: refused while it streams, long before its end."""
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 200 * LIMIT:
            sent += LIMIT // 16
            yield b" " * (LIMIT // 16)

    answer = await client.post("/v1/generations", JSON, data=endless())
    await assert_refused(answer, 413, "body_too_large", client, postgres)
    assert sent < 100 * LIMIT


async def test_a_body_at_the_limit_is_read(client: Client) -> None:
    body = json.dumps(IMAGE).encode()
    answer = await client.post("/v1/generations", JSON, data=body + b" " * (LIMIT - len(body)))
    assert answer.status == 202


@pytest.mark.parametrize("content_type", ["text/html", "text/plain", "application/xml", "multipart/form-data", ""])
async def test_a_body_of_another_type_is_not_guessed_at(
    client: Client, postgres: asyncpg.Pool, content_type: str
) -> None:
    """B26; it is also what keeps a form on a strange page from asking in a browser's name."""
    answer = await client.post("/v1/generations", {"Content-Type": content_type}, data=json.dumps(IMAGE).encode())
    await assert_refused(answer, 415, "unsupported_media_type", client, postgres)


async def test_a_compressed_body_is_not_inflated(client: Client, postgres: asyncpg.Pool) -> None:
    answer = await client.post(
        "/v1/generations", {**JSON, "Content-Encoding": "gzip"}, data=gzip.compress(json.dumps(IMAGE).encode())
    )
    await assert_refused(answer, 400, "malformed_body", client, postgres)


async def test_of_a_field_given_twice_the_last_counts(client: Client) -> None:
    """B5"""
    answer = await client.post("/v1/generations", JSON, data=b'{"kind":"image","prompt":"first","prompt":"last"}')
    assert (answer.status, answer.json["prompt"]) == (202, "last")


async def test_options_come_through_as_they_are(client: Client, players: Players) -> None:
    options = {
        "escaped": "\\u0000",
        "emoji": "🏔️",
        "large": 10**40,
        "small": 1e-300,
        "deep": json.loads(nested(10)),
        "nothing": None,
        "": "",
    }
    accepted = await client.accepted(options=options)
    assert (await players.heard(accepted["id"])).options == options


PAGES = [
    "limit=0",
    "limit=101",
    "limit=-1",
    "limit=1000000000",
    "limit=x",
    "limit=1.5",
    "limit=",
    "status=done",
    "status=%00",
    "kind=hologram",
    "since=0001-01-01T00:00:00%2B14:00",
    "until=9999-12-31T23:59:59-14:00",
    "cursor=garbage",
    "cursor=%00",
    "cursor=" + "a" * 201,
    "cursor=" + urlsafe_b64encode(b"not a time|not an id").decode(),
    "cursor=" + urlsafe_b64encode(f"2026-01-01T00:00:00|{NOBODYS}".encode()).decode(),
    "cursor=" + urlsafe_b64encode(f"0001-01-01T00:00:00+14:00|{NOBODYS}".encode()).decode(),
    "cursor=" + urlsafe_b64encode(f"9999-12-31T23:59:59-14:00|{NOBODYS}".encode()).decode(),
    "cursor=" + urlsafe_b64encode(f"2026-01-01T00:00:00+00:00|{NOBODYS}' OR 1=1".encode()).decode(),
]


@pytest.mark.parametrize("query", PAGES, ids=lambda query: query[:60])
async def test_pages_that_cannot_be(client: Client, postgres: asyncpg.Pool, query: str) -> None:
    """B46"""
    await assert_refused(await client.get(f"/v1/generations?{query}"), 422, "invalid_request", client, postgres)


async def test_a_cursor_that_was_tampered_with(client: Client) -> None:
    for _ in range(2):
        await client.accepted()
    cursor = (await client.get("/v1/generations?limit=1")).json["next_cursor"]
    assert (await client.get(f"/v1/generations?cursor={cursor}")).status == 200
    for tampered in (cursor[:-4], cursor + "AAAA", f"!{cursor}", cursor[:10] + "~" + cursor[10:], cursor[::-1]):
        answer = await client.get(f"/v1/generations?cursor={tampered}")
        assert (answer.status, answer.json["code"]) == (422, "invalid_request"), tampered


@pytest.mark.parametrize(
    ("key", "status"),
    [
        ("k" * 255, 202),
        ('"' + "k" * 255 + '"', 202),
        ("k" * 256, 400),
        ("ключ", 400),
        ("a\tb", 400),
        ("", 400),
        ('""', 400),
    ],
    ids=lambda value: str(value)[:12],
)
async def test_keys_of_every_form(client: Client, postgres: asyncpg.Pool, key: str, status: int) -> None:
    """B12"""
    answer = await client.create(key=key)
    if status == 202:
        assert answer.status == 202
    else:
        await assert_refused(answer, 400, "invalid_idempotency_key", client, postgres)


PATHS = [
    ("GET", "/v1/generations/1", 404),
    ("GET", f"/v1/generations/{NOBODYS}", 404),
    ("GET", "/v1/generations/..%2f..%2fready", 404),
    ("GET", "/v1/generations/%00", 404),
    ("GET", "/v1/generations/%252e%252e", 404),
    ("GET", "/v1//generations", 404),
    ("GET", f"/v1/generations/{NOBODYS}.", 404),
    ("GET", f"/v1/generations/{NOBODYS}/nope", 404),
    ("GET", "/v1/nope", 404),
    ("PUT", "/v1/generations", 405),
    ("DELETE", "/v1/models", 405),
    ("PUT", f"/v1/generations/{NOBODYS}", 405),
    ("TRACE", "/v1/models", 405),
]


@pytest.mark.parametrize(("method", "path", "status"), PATHS)
async def test_paths_and_methods_that_are_not_ours(client: Client, method: str, path: str, status: int) -> None:
    """B20, B22, B25"""
    answer = await client.request(method, path)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/problem+json")
    assert answer.json["status"] == status
    if status == 405:
        allowed = answer.headers["Allow"].split(", ")
        assert ("HEAD" in allowed) == ("GET" in allowed), allowed


@pytest.mark.parametrize(
    ("path", "status"),
    [("/v1/models", 200), ("/openai/v1/models", 200), ("/", 200), ("/v1/nothing", 404), ("/v1/events", 200)],
)
async def test_what_can_be_read_has_a_head(client: Client, path: str, status: int) -> None:
    """As monitors, players and `curl -I` ask; of a stream as well, which keeps nobody waiting for its end."""
    head = await asyncio.wait_for(client.request("HEAD", path), 5)
    assert (head.status, head.text) == (status, "")
    if path != "/v1/events":
        there = await client.get(path)
        assert head.headers["Content-Length"] == str(len(there.text.encode()))
        assert head.headers["Content-Type"] == there.headers["Content-Type"]


async def test_a_path_of_no_dialect_answers_in_every_shape(nobody: Client) -> None:
    answer = await nobody.get("/rest/nope")
    body = answer.json
    assert (answer.status, body["statusCode"]) == (404, 404)
    assert all(isinstance(body[name], str) for name in ("error", "message", "detail"))


async def test_a_method_cannot_be_overridden(client: Client) -> None:
    """B25"""
    answer = await client.post("/v1/models", {"X-HTTP-Method-Override": "GET"})
    assert answer.status == 405


async def test_five_thousand_parameters_are_nothing(client: Client) -> None:
    """B23"""
    started = time.perf_counter()
    answer = await client.get("/v1/models?" + "&".join(f"a{number}=1" for number in range(5000)))
    assert answer.status in {200, 400, 414, 431}
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize(
    "head",
    [
        "POST /v1/generations HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /v1/generations HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        "POST /v1/generations HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nxxxxx",
        "GET /v1/models HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
        "garbage\r\n\r\n",
    ],
)
async def test_requests_that_are_not_http(service: Service, head: str) -> None:
    """B25: one answer at the most, and it is a refusal."""
    address = urlsplit(service.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(head.encode())
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert answer == b"" or answer.split()[1].startswith(b"4")
    assert answer.count(b"HTTP/1.1 ") <= 1


async def test_extra_fields_are_ignored_by_a_dialect(client_of: MakeClient) -> None:
    """B2, B21: refused on /v1 alone."""
    body = {"prompt": "x", "price": 0, "status": "completed", "is_admin": True, "watermark": False}
    assert (await client_of().post("/api/images/generate", json=body)).status == 200
