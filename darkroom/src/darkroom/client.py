"""The native API as a program uses it: order, follow, fetch."""

import asyncio
import hashlib
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urljoin, urlsplit
from uuid import uuid4

import aiohttp

CONNECT_SECONDS = 5
ANSWER_SECONDS = 30
SILENCE_SECONDS = 60
"""The gateway writes a comment more often than that."""
POLL_SECONDS = 0.5
GONE_SECONDS = 60.0
"""How long a gateway may be away while we wait for an outcome."""
MAX_SUBJECT_CHARACTERS = 40
FINAL = ("completed", "failed", "declined", "cancelled")

Generation = dict[str, Any]


class ApiError(Exception):
    """The gateway said no, or said nothing; the message is for people."""


class Client:
    """One user's view of a gateway."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def __aenter__(self) -> Self:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=ANSWER_SECONDS)
        self._session = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def order(self, wanted: dict[str, Any]) -> Generation:
        """Asks for a generation. The same one is meant if the answer is lost and it is asked again."""
        headers = {**self._headers, "Idempotency-Key": str(uuid4())}
        for attempt in (1, 2, 3):
            try:
                return await self._ask("POST", "/v1/generations", headers=headers, json=wanted)
            except _UnreachableError:
                if attempt == 3:
                    raise
                await asyncio.sleep(attempt)
        raise AssertionError("not reached")

    async def generation(self, generation_id: str) -> Generation:
        return await self._ask("GET", f"/v1/generations/{generation_id}")

    async def credits(self) -> dict[str, Any]:
        """`available`, `held`, `used`, in credits."""
        return await self._ask("GET", "/v1/credits")

    async def follow(self, generation: Generation) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """`("generation" | "progress" | "outcome", data)` until the outcome: as events, or by asking again and again.

        Raises:
            ApiError: the gateway was away for too long. The generation goes on.
        """
        gone_since: float | None = None
        clock = asyncio.get_running_loop().time
        while True:
            try:
                async for event, data in self._events(generation["id"]):
                    gone_since = None
                    yield event, data
                    if event == "outcome":
                        return
            except _UnreachableError as error:
                gone_since = gone_since or clock()
                if clock() - gone_since > GONE_SECONDS:
                    raise ApiError(f"{error} The generation goes on: {generation['id']}") from error
            except ApiError:
                pass  # no events to be had, for whatever reason: ask
            await asyncio.sleep(POLL_SECONDS)
            try:
                current = await self.generation(generation["id"])
            except _UnreachableError:
                continue
            yield ("outcome" if current["status"] in FINAL else "generation"), current
            if current["status"] in FINAL:
                return

    async def fetch(self, asset: dict[str, Any], path: Path) -> None:
        """Saves an asset and compares it with its hash; nothing half written is left.

        Raises:
            ApiError: it cannot be had, or is not what it should be.
        """
        draft = path.with_name(path.name + ".part")
        digest = hashlib.sha256()
        try:
            async with self._session.get(urljoin(self._url, asset["url"])) as answer:
                if answer.status != 200:
                    raise ApiError(f"The picture cannot be fetched: {answer.status} from {answer.url}.")
                with draft.open("wb") as file:
                    async for chunk in answer.content.iter_chunked(1 << 16):
                        digest.update(chunk)
                        file.write(chunk)
            if digest.hexdigest() != asset["sha256"]:
                raise ApiError(f"What came from {asset['url']} is not the picture that was made: its hash differs.")
            draft.replace(path)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(f"The picture cannot be fetched from {asset['url']}: {_words(error)}.") from error
        finally:
            draft.unlink(missing_ok=True)

    async def _events(self, generation_id: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
        url = f"{self._url}/v1/generations/{generation_id}/events"
        try:
            async with self._session.get(url, headers=self._headers, timeout=timeout) as answer:
                if answer.status != 200:
                    raise ApiError(f"no events: {answer.status}")
                event, data = "message", []
                async for line in answer.content:
                    field, _, value = line.decode().rstrip("\r\n").partition(":")
                    if field == "event":
                        event = value.strip()
                    elif field == "data":
                        data.append(value.removeprefix(" "))
                    elif not field and not value and data:
                        yield event, json.loads("\n".join(data))
                        event, data = "message", []
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _UnreachableError(self._url, error) from error

    async def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        options.setdefault("headers", self._headers)
        try:
            async with self._session.request(method, self._url + path, **options) as answer:
                text = await answer.text()
                if answer.status < 400:
                    document: dict[str, Any] = json.loads(text)
                    return document
                raise ApiError(_problem(answer.status, text))
        except (aiohttp.ClientError, TimeoutError) as error:
            raise _UnreachableError(self._url, error) from error


class _UnreachableError(ApiError):
    def __init__(self, url: str, error: Exception) -> None:
        super().__init__(f"The gateway at {url} does not answer: {_words(error)}.")


def file_names(generation: Generation) -> list[str]:
    """A name for each asset: from the prompt, and unlike any other generation's."""
    words = re.sub(r"\W+", "-", generation["prompt"].lower())[:MAX_SUBJECT_CHARACTERS].strip("-_")
    stem = f"{words or generation['kind']}-{generation['id'][-6:]}"
    assets = generation["assets"]
    if len(assets) == 1:
        return [stem + _suffix(assets[0])]
    return [f"{stem}-{number}{_suffix(asset)}" for number, asset in enumerate(assets, 1)]


_SUFFIXES = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif", "video/mp4": ".mp4"}


def _suffix(asset: dict[str, Any]) -> str:
    return _SUFFIXES.get(asset["mime_type"]) or Path(os.fspath(urlsplit(asset["url"]).path)).suffix


def _problem(status: int, text: str) -> str:
    """What a refusal says, whatever shape it has."""
    try:
        body = json.loads(text)
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    error = body.get("error")
    words = body.get("detail") or (error.get("message") if isinstance(error, dict) else error) or body.get("title")
    lines = [str(words or f"The gateway answered {status}.")]
    if status == 402 and "required" in body:
        lines.append(f"Required: {body['required']} credits, available: {body.get('available')}.")
    faults = [fault for fault in body.get("errors") or () if isinstance(fault, dict)]
    lines += [f"  {fault.get('field', '?')}: {fault.get('message', '')}" for fault in faults]
    return "\n".join(lines)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__
