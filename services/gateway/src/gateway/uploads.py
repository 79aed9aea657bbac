"""Uploads: streamed into the claims bucket as they arrive, then storage is asked to make an asset of it.

The gateway neither keeps nor looks at the bytes. The id follows from the Idempotency-Key, so that sending a file again
is the same upload, and another one is refused; for a file that comes within an order it follows from its bytes as well,
so that another one is no repetition.
"""

import asyncio
import base64
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar
from uuid import UUID, uuid4

from fastapi.exceptions import RequestValidationError
from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from sqlalchemy import text

from contracts.facts import Asset, Failure, Visibility
from contracts.ids import asset_id, keyed_generation_id, new_generation_id
from contracts.keeping import (
    ChangedAssets,
    Delete,
    FindMedia,
    FoundMedia,
    MediaName,
    OfferedUpload,
    OfferUpload,
    TakenUpload,
    TakeUpload,
)
from contracts.model import Frozen
from contracts.questions import (
    STORAGE_DELETE,
    STORAGE_FIND_MEDIA,
    STORAGE_OFFER_UPLOAD,
    STORAGE_TAKE_UPLOAD,
)
from contracts.topology import CLAIMS_BUCKET
from gateway.accepting import ACCEPTED
from gateway.identity import Caller
from gateway.orders import checked_key
from gateway.questions import ask
from gateway.refusals import (
    BodyTooLarge,
    NotFinished,
    NotFound,
    NotHeard,
    Refusal,
    TooManyRequests,
    Unavailable,
    refusal_of_upload,
)
from runtime.broker import connected
from runtime.database import Database

ROUTE = "/v1/uploads"
NOT_TAKEN = "Files cannot be taken right now; send it again."
AT_ONCE = 16
"""In one process: each holds a chunk or two."""
AT_ONCE_OF_USER = 4
"""So that nobody takes them all."""
WAITING_OF_USER = 16
TURN_SECONDS = 30.0
TURN_POLL_SECONDS = 0.05
CHUNK_BYTES = 128 << 10
PUT_SECONDS = 10.0
OFFER_SECONDS = 5.0
DELETE_SECONDS = 5.0
FIND_SECONDS = 5.0
TAKE_SECONDS = 120.0
"""A video is played while the user waits."""
RETRY_SECONDS = 5
FORM_BYTES = 1 << 20
"""What a form may have around its file."""

_MAY_GO_ON = (NotHeard, Unavailable)
"""After these it may have begun, or whoever sends it again goes on with it."""

Answer = TypeVar("Answer", bound=Frozen)

# Among what one user has waiting or at work.
_STARTS = text("""
    SELECT EXISTS (
        SELECT FROM generations
        WHERE user_id = :user_id AND status IN ('pending', 'processing')
            AND particulars -> 'inputs' @> jsonb_build_array(jsonb_build_object('asset_id', CAST(:asset_id AS text)))
    )
""")


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that was taken."""

    id: UUID
    asset: Asset
    visibility: Visibility
    """As it was asked for when it was new."""
    is_new: bool
    """Before this request it was not there."""


@dataclass(frozen=True, slots=True)
class Received:
    """A file in the claims bucket, and the SHA-256 of its bytes."""

    claim: str
    digest: str


class Uploads:
    """What users bring. It is shown as they say, and else as the deployment does."""

    def __init__(self, database: Database, broker: NatsBroker, max_bytes: int, visibility: Visibility) -> None:
        self._database = database
        self._broker = broker
        self._max_bytes = max_bytes
        self._visibility = visibility
        self._under_way = 0
        self._of_user: Counter[UUID] = Counter()
        self._waiting_of_user: Counter[UUID | None] = Counter()
        self.max_form_bytes = max_bytes + FORM_BYTES
        self.listed_by: list[Callable[[Caller, UUID], Awaitable[None]]] = []
        """Who is told which upload its user has deleted, at least once: they list it no more."""

    async def take(
        self,
        caller: Caller,
        chunks: AsyncIterator[bytes],
        key: str | None,
        route: str = ROUTE,
        visibility: Visibility | None = None,
        *,
        by_content: bool = False,
        is_here: bool = False,
    ) -> Upload:
        """What a file has become; under the same key of the same route it is the same upload, `by_content` another one
        for another file. One that `is_here` stood in a request that has been read: its user is not waited for.

        Raises:
            IdempotencyMismatch: the key was used for another file. Refusal: why it has not; nothing is kept then.
        """
        key = None if key is None else checked_key(key)
        async with self._one_more(None if is_here else caller.user_id):
            received = await self._put(chunks)
            return await self._kept(caller, received, key, route, visibility, by_content=by_content)

    async def receive(self, caller: Caller, chunks: AsyncIterator[bytes]) -> Received:
        """A file that is not looked at yet: who does not `keep` it has to `forget` it. Raises Refusal."""
        async with self._one_more(caller.user_id):
            return await self._put(chunks)

    async def keep(
        self, caller: Caller, received: Received, key: str | None, route: str, visibility: Visibility | None = None
    ) -> Upload:
        """What it has become, as `take` says it `by_content`. Raises Refusal."""
        key = None if key is None else checked_key(key)
        async with self._one_more():
            return await self._kept(caller, received, key, route, visibility, by_content=True)

    async def forget(self, received: Received) -> None:
        """Of no use any more: else the bucket would keep it for a day."""
        await self._forget(received.claim)

    @contextlib.asynccontextmanager
    async def taking_back(self, caller: Caller) -> AsyncIterator[list[Upload]]:
        """What is kept for a request is put into the list, and asked for within: where that is refused, nothing of it
        stays. What was there before does, and so does what something under way starts from."""
        kept: list[Upload] = []
        try:
            yield kept
        except _MAY_GO_ON:
            raise
        except (Refusal, RequestValidationError):
            for upload in kept if ACCEPTED.get() is None else ():
                if upload.is_new:
                    with contextlib.suppress(Refusal):
                        await self.delete(caller, upload.asset.id)
            raise

    @contextlib.asynccontextmanager
    async def bringing(self, caller: Caller, chunks: AsyncIterator[bytes]) -> AsyncIterator["Brought"]:
        """The file that comes with a form, received whole: its fields are known then, and nothing is kept yet. What the
        form asks for is done within; where that is refused, nothing of the file stays.

        Raises Refusal: why it is not received.
        """
        first = await anext(chunks, None)
        received = None if first is None else await self.receive(caller, _all(first, chunks))
        async with self.taking_back(caller) as kept:
            brought = Brought(self, caller, received, kept)
            try:
                yield brought
            finally:
                await brought.let_go()

    async def offer(self, caller: Caller, mime_type: str, size_bytes: int) -> tuple[UUID, OfferedUpload]:
        """A form for the user's browser. Raises Refusal."""
        upload_id = new_generation_id()
        question = OfferUpload(upload_id=upload_id, user_id=caller.user_id, mime_type=mime_type, size_bytes=size_bytes)
        offered = await self._ask(STORAGE_OFFER_UPLOAD, question, OfferedUpload, OFFER_SECONDS)
        if offered.failure is not None:
            raise refusal_of_upload(offered.failure)
        return upload_id, offered

    async def finalize(self, caller: Caller, upload_id: UUID, visibility: Visibility | None = None) -> Upload:
        """What the file in the bucket has become. Raises Refusal."""
        return await self._taken(caller, upload_id, visibility)

    async def has(self, caller: Caller, asset_id: UUID) -> bool:
        """Whether it is still there for this user. Raises Unavailable."""
        question = FindMedia(user_id=caller.user_id, names=(MediaName(asset_id=asset_id),))
        found = await ask(self._broker, STORAGE_FIND_MEDIA, question, FoundMedia, FIND_SECONDS, NOT_TAKEN)
        return any(found.media)

    async def delete(self, caller: Caller, asset_id: UUID) -> None:
        """Takes what an upload became out of sight, and out of the quota.

        Raises:
            NotFound: there is no such upload of this user's, or not any more. Unavailable: nothing has changed.
            NotFinished: something that is being made starts from it.
        """
        async with self._database.statement() as connection:
            values = {"user_id": caller.user_id, "asset_id": str(asset_id)}
            if (await connection.execute(_STARTS, values)).scalar_one():
                raise NotFinished("A generation that starts from it is still at work: cancel it first.")
        question = Delete(user_id=caller.user_id, asset_id=asset_id)
        silence = "Nothing can be deleted right now; try again."
        if not (await ask(self._broker, STORAGE_DELETE, question, ChangedAssets, DELETE_SECONDS, silence)).assets:
            raise NotFound("There is no such upload.")

    async def remove(self, caller: Caller, upload_id: UUID) -> None:
        """The same, of an upload by its own id; nobody lists it any more. Raises as `delete` does."""
        missing = None
        try:
            await self.delete(caller, asset_id(upload_id, 0))
        except NotFound as error:
            missing = error
        for forget in self.listed_by:
            await forget(caller, upload_id)
        if missing is not None:
            raise missing

    def _is_full(self, user_id: UUID | None) -> bool:
        return self._under_way >= AT_ONCE or (user_id is not None and self._of_user[user_id] >= AT_ONCE_OF_USER)

    async def _turn(self, user_id: UUID | None) -> None:
        """Waits while there are too many, or too many of a user's: a client sends whatever was dropped on it at once,
        and nothing again. Raises TooManyRequests.
        """
        give_up_at, one = time.monotonic() + TURN_SECONDS, Counter([user_id])
        while self._is_full(user_id):
            if time.monotonic() >= give_up_at or self._waiting_of_user[user_id] >= WAITING_OF_USER:
                raise TooManyRequests("Too many uploads are under way.", RETRY_SECONDS)
            self._waiting_of_user += one
            try:
                await asyncio.sleep(TURN_POLL_SECONDS)
            finally:
                self._waiting_of_user -= one

    @contextlib.asynccontextmanager
    async def _one_more(self, user_id: UUID | None = None) -> AsyncIterator[None]:
        """One of this user's as well, where it is his bytes that are waited for. Raises TooManyRequests."""
        await self._turn(user_id)
        counted = Counter([] if user_id is None else [user_id])
        self._under_way += 1
        self._of_user += counted
        try:
            yield
        finally:
            self._under_way -= 1
            self._of_user -= counted

    async def _kept(
        self,
        caller: Caller,
        received: Received,
        key: str | None,
        route: str,
        visibility: Visibility | None,
        *,
        by_content: bool,
    ) -> Upload:
        if key is not None and by_content:
            key = f"{key}\n{received.digest}"
        upload_id = new_generation_id() if key is None else keyed_generation_id(caller.user_id, route, key)
        return await self._taken(caller, upload_id, visibility, received=received)

    async def _taken(
        self,
        caller: Caller,
        upload_id: UUID,
        visibility: Visibility | None,
        *,
        received: Received | None = None,
    ) -> Upload:
        question = TakeUpload(
            upload_id=upload_id,
            user_id=caller.user_id,
            claim=received and received.claim,
            sha256=received and received.digest,
            visibility=visibility or self._visibility,
        )
        try:
            taken = await self._ask(STORAGE_TAKE_UPLOAD, question, TakenUpload, TAKE_SECONDS)
        finally:
            if received is not None:
                await self._forget(received.claim)
        if taken.asset is None:
            raise refusal_of_upload(taken.failure or Failure(code="unavailable", message="The file cannot be taken."))
        return Upload(upload_id, taken.asset, taken.visibility, taken.is_new)

    async def _put(self, chunks: AsyncIterator[bytes]) -> Received:
        """As any Object Store client does (ADR-20), but while the bytes arrive; what breaks off is forgotten."""
        stream = self._broker.connection.jetstream(timeout=PUT_SECONDS) if connected(self._broker) else None
        # Not the upload's id: of two that are sent at once, none may read the other's half.
        name = f"uploads/{uuid4()}"
        nuid, digest, size, count = _nuid_of(name), sha256(), 0, 0
        waiting = bytearray()
        try:
            if stream is None:
                raise OSError("the bus is away")
            async for chunk in chunks:
                size += len(chunk)
                if size > self._max_bytes:
                    raise BodyTooLarge(f"A file may have {self._max_bytes} bytes at most.")
                digest.update(chunk)
                waiting += chunk
                while len(waiting) >= CHUNK_BYTES:
                    await stream.publish(f"$O.{CLAIMS_BUCKET}.C.{nuid}", bytes(waiting[:CHUNK_BYTES]))
                    del waiting[:CHUNK_BYTES]
                    count += 1
            if waiting:
                await stream.publish(f"$O.{CLAIMS_BUCKET}.C.{nuid}", bytes(waiting))
                count += 1
            about = {"name": name, "bucket": CLAIMS_BUCKET, "nuid": nuid, "size": size, "chunks": count}
            about["digest"] = f"SHA-256={base64.urlsafe_b64encode(digest.digest()).decode()}"
            subject = f"$O.{CLAIMS_BUCKET}.M.{base64.urlsafe_b64encode(name.encode()).decode()}"
            await stream.publish(subject, json.dumps(about).encode(), headers={"Nats-Rollup": "sub"})
            return Received(name, digest.hexdigest())
        except (NatsError, OSError) as error:
            await self._forget(name)
            raise Unavailable(NOT_TAKEN) from error
        except BaseException:
            if count:
                await self._forget(name)
            raise

    async def _forget(self, name: str) -> None:
        """Puts nothing in the place of all chunks: else the bucket would keep for a day what nobody asks for again."""
        if connected(self._broker):
            chunks = f"$O.{CLAIMS_BUCKET}.C.{_nuid_of(name)}"
            with contextlib.suppress(NatsError, OSError):
                await self._broker.connection.publish(chunks, headers={"Nats-Rollup": "sub"})

    async def _ask(self, subject: str, question: Frozen, answer: type[Answer], seconds: float) -> Answer:
        return await ask(self._broker, subject, question, answer, seconds, NOT_TAKEN)


class Brought:
    """The file of a form, until it is known what becomes of the form."""

    def __init__(self, uploads: Uploads, caller: Caller, received: Received | None, kept: list[Upload]) -> None:
        self._uploads = uploads
        self._caller = caller
        self._received = received
        self._kept = kept
        self.is_there = received is not None
        """Whether there is one."""

    async def keep(self, key: str | None, route: str, visibility: Visibility | None = None) -> Asset:
        """The asset that it becomes. Another file is another asset, also under the same key. Raises Refusal."""
        assert self._received is not None  # noqa: S101
        received, self._received = self._received, None
        self._kept.append(upload := await self._uploads.keep(self._caller, received, key, route, visibility))
        return upload.asset

    async def let_go(self) -> None:
        """Of what was received and not kept."""
        if self._received is not None:
            await self._uploads.forget(self._received)


def _nuid_of(name: str) -> str:
    """What the chunks of a claim are called: as new as its name."""
    return name.rpartition("/")[2]


async def _all(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk
