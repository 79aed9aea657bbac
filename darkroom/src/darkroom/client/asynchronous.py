"""The client for programs with an event loop."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack
from urllib.parse import quote
from uuid import uuid4

from pydantic import ValidationError

from darkroom.client import files, views
from darkroom.client.connection import Connection, passes
from darkroom.client.errors import ApiError, UnreachableError
from darkroom.client.views import Generation, Progress
from darkroom.client.wishes import Filter, Id, NewApiKey, NewGeneration

POLL_SECONDS = 0.5
LOOK_SECONDS = 10
"""How long the gateway is asked to wait with its answer where there are no events."""
GONE_SECONDS = 60.0
"""How long a gateway may be away while we wait for an outcome."""
PAGE = 100

V = TypeVar("V", bound=views.View)


class AsyncClient:
    """One user's view of a gateway. `token` is a session's or an API key.

    Every method raises `Refused` (as the exception of its code) or `UnreachableError`, and a bare `ApiError` where
    something in what it was given can be said in no request, such as a line end in a key. Used after `close` it is a
    `ClosedError`, in another process or event loop than at first an `ElsewhereError`.
    What makes something has an Idempotency-Key, yours or a new one: asked again, it makes the same.
    """

    def __init__(self, url: str, token: str | None) -> None:
        self._connection = Connection(url, token)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._connection.close()

    # -- generations ------------------------------------------------------------------------------------------

    async def generate(self, *, idempotency_key: str | None = None, **wanted: Unpack[NewGeneration]) -> Generation:
        """Asks for a generation; it is accepted, not finished."""
        return await self._make("/v1/generations", idempotency_key, Generation, wanted)

    async def generation(self, generation_id: Id) -> Generation:
        return await self._look(_of(generation_id), Generation)

    async def generations(self, **wanted: Unpack[Filter]) -> AsyncIterator[Generation]:
        """All that fit, the newest first; a page is asked for when it is needed."""
        cursor: str | None = None
        while True:
            query = {**wanted, "limit": PAGE, "cursor": cursor}
            page = await self._look("/v1/generations", views.GenerationPage, query)
            for generation in page.items:
                yield generation
            if (cursor := page.next_cursor) is None:
                return

    async def follow(self, generation: Generation | Id) -> AsyncIterator[Generation | Progress]:
        """How it comes, as it comes; the last is the final `Generation`.

        Where events break off or cannot be had it is looked at again, so nothing that counts is missed.

        Raises:
            ApiError: the gateway was away for a minute, or shows it to you no more. The generation goes on.
        """
        path = _of(generation)
        gone_since: float | None = None
        clock = asyncio.get_running_loop().time
        while True:
            try:
                async for event, data in self._connection.events(f"{path}/events"):
                    gone_since = None
                    if event == "progress":
                        yield Progress.model_validate(data)
                    elif event in ("generation", "outcome"):
                        seen = Generation.model_validate(data)
                        yield seen
                        if seen.is_final:
                            return
            except ApiError:
                pass  # no events to be had, for whatever reason: look
            try:
                seen = await self._look(path, Generation, headers={"Prefer": f"wait={LOOK_SECONDS}"})
            except ApiError as error:
                gone_since = gone_since or clock()
                if not passes(error) or clock() - gone_since > GONE_SECONDS:
                    raise
            else:
                gone_since = None
                yield seen
                if seen.is_final:
                    return
            await asyncio.sleep(POLL_SECONDS)

    async def wait(self, generation: Generation | Id, timeout_seconds: float | None = None) -> Generation:
        """The generation once it is final, however it ended: `status` and `error` say how.

        Raises:
            TimeoutError: it takes longer. The generation goes on.
        """
        async with asyncio.timeout(timeout_seconds):
            async for seen in self.follow(generation):
                if isinstance(seen, Generation) and seen.is_final:
                    return seen
        raise AssertionError("what is followed ends with its outcome")

    async def cancel(self, generation: Generation | Id) -> Generation:
        """As it is then: cancelled, or soon."""
        return await self._post(f"{_of(generation)}/cancel", Generation)

    async def retry(self, generation: Generation | Id, *, idempotency_key: str | None = None) -> Generation:
        """A new one like one that was not completed, at today's price."""
        return await self._make(f"{_of(generation)}/retry", idempotency_key, Generation)

    async def delete(self, generation: Generation | Id) -> None:
        """It is not shown any more, and its files go."""
        await self._connection.ask("DELETE", _of(generation), is_repeatable=False)

    async def quote(self, **wanted: Unpack[NewGeneration]) -> views.Quote:
        """What it would cost. Nothing is set aside."""
        return await self._post("/v1/quotes", views.Quote, wanted)

    async def batch(self, items: Sequence[NewGeneration], *, idempotency_key: str | None = None) -> views.Batch:
        """Asks for all of it, or nothing is accepted."""
        return await self._make("/v1/batches", idempotency_key, views.Batch, {"items": items})

    async def look_at_batch(self, batch_id: Id) -> views.Batch:
        return await self._look(f"/v1/batches/{_named(batch_id)}", views.Batch)

    # -- files ------------------------------------------------------------------------------------------------

    async def upload(
        self,
        path: str | PathLike[str],
        *,
        visibility: views.Visibility | None = None,
        idempotency_key: str | None = None,
    ) -> views.Upload:
        """Brings a file; `as_input` of what comes back is what a generation starts from."""
        file, headers = Path(path), _key(idempotency_key)
        query = f"?visibility={visibility}" if visibility is not None else ""
        answer = await self._connection.ask(
            "POST", f"/v1/uploads{query}", is_repeatable=True, form=lambda: files.form_of(file), headers=headers
        )
        return self._seen(views.Upload, answer)

    async def delete_upload(self, upload: views.Upload | Id) -> None:
        """It is not served any more, and takes no room."""
        upload_id = upload.id if isinstance(upload, views.Upload) else upload
        await self._connection.ask("DELETE", f"/v1/uploads/{_named(upload_id)}", is_repeatable=False)

    async def fetch(self, asset: views.Asset, path: str | PathLike[str]) -> None:
        """Saves one file under that name, compared with its hash.

        Raises:
            ApiError: it cannot be had, or is not what it should be.
        """
        await files.fetch(self._connection, asset, Path(path))

    async def save(self, generation: Generation, folder: str | PathLike[str]) -> list[Path]:
        """Saves all of a generation's files in a folder, under names from its prompt."""
        paths = files.paths_in(Path(folder), generation)
        for asset, path in zip(generation.assets, paths, strict=True):
            await self.fetch(asset, path)
        return paths

    # -- what there is, and what it costs ---------------------------------------------------------------------

    async def models(self, kind: str | None = None) -> tuple[views.Model, ...]:
        return (await self._look("/v1/models", views.Models, {"kind": kind})).items

    async def credits(self) -> views.Balance:
        return await self._look("/v1/credits", views.Balance)

    async def statement(self) -> AsyncIterator[views.StatementEntry]:
        """Where the credits went, the newest first; a page is asked for when it is needed."""
        cursor: str | None = None
        while True:
            page = await self._look("/v1/credits/statement", views.StatementPage, {"limit": PAGE, "cursor": cursor})
            for entry in page.items:
                yield entry
            if (cursor := page.next_cursor) is None:
                return

    # -- who is told, and who may ask -------------------------------------------------------------------------

    async def webhooks(self) -> tuple[views.Webhook, ...]:
        return (await self._look("/v1/webhooks", views.Webhooks)).items

    async def make_webhook(
        self, url: str, events: Sequence[str] | None = None, *, idempotency_key: str | None = None
    ) -> views.Webhook:
        """Says where to be told, and of what: everything if absent. `secret` verifies what comes."""
        wanted = {"url": url} | ({} if events is None else {"events": events})
        return await self._make("/v1/webhooks", idempotency_key, views.Webhook, wanted)

    async def remove_webhook(self, webhook_id: Id) -> None:
        await self._connection.ask("DELETE", f"/v1/webhooks/{_named(webhook_id)}", is_repeatable=False)

    async def api_keys(self) -> tuple[views.ApiKey, ...]:
        return (await self._look("/v1/api-keys", views.ApiKeys)).items

    async def make_api_key(self, *, idempotency_key: str | None = None, **wanted: Unpack[NewApiKey]) -> views.ApiKey:
        """A key for a program.

        Raises:
            ShownOnce: it is made already, and its answer was lost: revoke it, and make another.
        """
        return await self._make("/v1/api-keys", idempotency_key, views.ApiKey, wanted)

    async def revoke_api_key(self, key_id: Id) -> None:
        await self._connection.ask("DELETE", f"/v1/api-keys/{_named(key_id)}", is_repeatable=False)

    async def _look(
        self,
        path: str,
        view: type[V],
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> V:
        answer = await self._connection.ask("GET", path, is_repeatable=True, query=query, headers=headers)
        return self._seen(view, answer)

    async def _make(self, path: str, key: str | None, view: type[V], body: Any = None) -> V:
        answer = await self._connection.ask("POST", path, is_repeatable=True, body=body, headers=_key(key))
        return self._seen(view, answer)

    async def _post(self, path: str, view: type[V], body: Any = None) -> V:
        answer = await self._connection.ask("POST", path, is_repeatable=True, body=body)
        return self._seen(view, answer)

    def _seen(self, view: type[V], answer: bytes) -> V:
        """Raises UnreachableError where it is no such thing: somebody else answers there, such as a page to log in."""
        try:
            return view.model_validate_json(answer)
        except ValidationError as error:
            raise UnreachableError(self._connection.url, ValueError(f"what came is no {view.__name__}")) from error


def _of(generation: Generation | Id) -> str:
    return f"/v1/generations/{_named(generation.id if isinstance(generation, Generation) else generation)}"


def _named(thing: Id) -> str:
    """One part of a path, whatever it is: an id that a program was given leads nowhere else."""
    return quote(str(thing), safe="", errors="surrogatepass")


def _key(given: str | None) -> dict[str, str]:
    return {"Idempotency-Key": str(uuid4()) if given is None else given}
