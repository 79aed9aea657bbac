"""One user's HTTP requests, and what came back."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import jwt
from multidict import CIMultiDict

SECRET = "a secret that only the issuer and the gateway know"
FINAL = {"completed", "failed", "declined", "cancelled"}
IMAGE = {"kind": "image", "prompt": "A lighthouse in a storm"}


def token(user_id: UUID | str | None, *, secret: str = SECRET, **claims: Any) -> str:
    """As Supabase signs them; a claim given as None is left out."""
    body = {
        "iss": "https://project.supabase.example/auth/v1",
        "aud": "authenticated",
        "role": "authenticated",
        "exp": int(time.time()) + 3600,
        "sub": None if user_id is None else str(user_id),
    }
    return jwt.encode({name: value for name, value in (body | claims).items() if value is not None}, secret)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass(frozen=True, slots=True)
class Event:
    """A server-sent event."""

    name: str
    data: Any
    id: str | None


class Client:
    """Sends requests as one user, or as nobody."""

    def __init__(self, session: aiohttp.ClientSession, url: str, user_id: UUID | None, bearer: str | None) -> None:
        self._session = session
        self.url = url
        self.user_id = user_id or uuid4()
        self._headers = {"Authorization": f"Bearer {bearer}"} if bearer is not None else {}

    def at(self, url: str) -> "Client":
        """The same at another address."""
        bearer = self._headers.get("Authorization")
        return Client(self._session, url, self.user_id, bearer.removeprefix("Bearer ") if bearer else None)

    async def request(self, method: str, path: str, headers: Mapping[str, str] | None = None, **body: Any) -> Answer:
        sent = CIMultiDict(self._headers)
        sent.extend(headers or {})
        async with self._session.request(
            method, self.url + path, headers=sent, allow_redirects=False, **body
        ) as answer:
            return Answer(answer.status, answer.headers, await answer.text())

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return await self.request("GET", path, headers)

    async def post(self, path: str, headers: Mapping[str, str] | None = None, **body: Any) -> Answer:
        return await self.request("POST", path, headers, **body)

    async def create(self, key: str | None = None, **fields: Any) -> Answer:
        headers = {"Idempotency-Key": key} if key is not None else {}
        return await self.post("/v1/generations", headers, json=IMAGE | fields)

    async def accepted(self, **fields: Any) -> Any:
        """A new generation, as the 202 shows it."""
        answer = await self.create(**fields)
        assert answer.status == 202, answer.text
        return answer.json

    async def show(self, generation_id: str) -> Any:
        answer = await self.get(f"/v1/generations/{generation_id}")
        assert answer.status == 200, answer.text
        return answer.json

    async def cancel(self, generation_id: str) -> Answer:
        return await self.post(f"/v1/generations/{generation_id}/cancel")

    async def ended(self, generation_id: str, seconds: float = 5) -> Any:
        """The generation once it is final."""

        async def final() -> Any:
            shown = await self.show(generation_id)
            return shown if shown["status"] in FINAL else None

        return await until(final, seconds)

    async def events(self, generation_id: str | None = None, last: str | None = None) -> AsyncIterator[Event]:
        """Of one generation, or of all of the user's; after the last one that is known."""
        path = f"{self.url}/v1/generations/{generation_id}/events" if generation_id else f"{self.url}/v1/events"
        headers = self._headers | ({} if last is None else {"Last-Event-ID": last})
        async with self._session.get(path, headers=headers) as answer:
            assert answer.status == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            fields: dict[str, str] = {}
            async for line in answer.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                elif "event" in fields:
                    yield Event(fields["event"], json.loads(fields["data"]), fields.get("id"))
                    fields = {}


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 5) -> Any:
    """What the condition gives once that is truthy."""
    give_up_at = time.monotonic() + seconds
    while not (found := await condition()):
        assert time.monotonic() < give_up_at, "waited in vain"
        await asyncio.sleep(0.01)
    return found
