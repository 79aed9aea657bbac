"""What users bring: typed by content, looked at for what is known to be bad, made anew, and theirs.

An upload becomes the asset whose id follows from the upload's, so that asking twice is asking once.
"""

import secrets
from contextlib import ExitStack
from uuid import UUID

import structlog
from sqlalchemy import text

from contracts.facts import Asset, Failure, Kind, Visibility
from contracts.ids import asset_id
from contracts.keeping import (
    OfferedUpload,
    OfferUpload,
    TakenUpload,
    TakeUpload,
)
from runtime.database import Database
from runtime.health import is_transient
from runtime.outbound import Refused
from storage import assets
from storage.addresses import EXTENSIONS, addresses
from storage.claims import Claims
from storage.downloads import Arriving, Body
from storage.keeping import Keeping
from storage.objects import Absent, Objects, name_of
from storage.objects.incoming import Incoming
from storage.pictures import Unusable
from storage.preparation import Preparation, Prepared, Unsupported
from storage.scanner import Infected, Scanner

TAKEN_TYPES = {*EXTENSIONS, "image/gif", "image/avif"} - {"application/json"}
"""What may be brought, also where it is kept as something else."""
FINALIZE_SECONDS = 3600
"""After an offer has ended, for whoever was still sending then."""

log = structlog.get_logger()

_FIND = text("SELECT * FROM assets WHERE id = :id AND owner_id = :owner_id AND generation_id IS NULL")
_ALONE = text("SELECT CAST(pg_advisory_xact_lock(hashtextextended(:owner, 1)) AS text)")
# What was deleted or purged since is as new, and has the address that it had while it is the same file: an address is
# kept by whoever has read it, as what never changes.
_OPEN = text("""
    WITH locked AS MATERIALIZED (
        SELECT count(CAST(pg_advisory_xact_lock_shared(hashtextextended(:object_name, 0)) AS text)) AS locks
    ), emptied AS (
        DELETE FROM variants USING assets
        WHERE assets.id = :id AND assets.owner_id = :owner_id AND assets.state <> 'stored' AND asset_id = assets.id
    )
    INSERT INTO assets
        (id, owner_id, index, token, mime_type, size_bytes, sha256, width, height, seconds, bitrate, blurhash, backend,
         visibility, given_sha256)
    SELECT :id, :owner_id, 0, :token, :mime_type, :size_bytes, :sha256, :width, :height, :seconds, :bitrate, :blurhash,
        :backend, :visibility, CAST(:given_sha256 AS text)
    FROM locked WHERE locked.locks >= 0
    ON CONFLICT (id) DO UPDATE SET
        token = CASE WHEN assets.sha256 = excluded.sha256 THEN assets.token ELSE excluded.token END,
        mime_type = excluded.mime_type, size_bytes = excluded.size_bytes, sha256 = excluded.sha256,
        width = excluded.width, height = excluded.height, seconds = excluded.seconds, bitrate = excluded.bitrate,
        blurhash = excluded.blurhash, backend = excluded.backend, visibility = excluded.visibility,
        given_sha256 = excluded.given_sha256, state = 'writing', created_at = now(), deleted_at = NULL
        WHERE assets.state <> 'stored' AND assets.owner_id = excluded.owner_id
    RETURNING token
""")
_OFFER = text("""
    INSERT INTO offers (upload_id, owner_id, size_bytes, expires_at)
    VALUES (:upload_id, :owner_id, :size_bytes, :expires_at)
    ON CONFLICT (upload_id) DO UPDATE SET size_bytes = excluded.size_bytes, expires_at = excluded.expires_at
        WHERE offers.owner_id = excluded.owner_id
    RETURNING upload_id
""")
_OFFERED = text("""
    SELECT size_bytes FROM offers
    WHERE upload_id = :upload_id AND owner_id = :owner_id AND expires_at > now() - make_interval(secs => :seconds)
""")


class NotTaken(Exception):
    """The upload is refused; `code` is one of `contracts.questions.TakenUpload`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Uploads:
    """Takes files from users."""

    def __init__(
        self,
        database: Database,
        objects: Objects,
        claims: Claims,
        preparation: Preparation,
        keeping: Keeping,
        *,
        scanner: Scanner | None,
        incoming: Incoming | None,
        max_bytes: int,
    ) -> None:
        self._database = database
        self._objects = objects
        self._claims = claims
        self._preparation = preparation
        self._keeping = keeping
        self._scanner = scanner
        self._incoming = incoming
        self._max_bytes = max_bytes

    async def take(self, question: TakeUpload) -> TakenUpload:
        """The asset that an upload has become, or why it has not."""
        try:
            return await self._take(question)
        except NotTaken as refusal:
            failure = Failure(code=refusal.code, message=str(refusal))
        except Unsupported as error:
            failure = Failure(code="unsupported_media", message=f"The file is not taken: {error}.")
        except (Unusable, Refused) as error:
            failure = Failure(code="unusable_media", message=f"The file is not taken: {error}.")
        except Infected:
            failure = Failure(code="not_clean", message="The file is not taken: it did not pass the scan for malware.")
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("upload.unavailable", error=f"{type(error).__name__}: {error}"[:200])
            failure = Failure(code="unavailable", message="The file cannot be taken at the moment.")
        log.info("upload.refused", upload=str(question.upload_id), code=failure.code)
        return TakenUpload(failure=failure)

    async def offer(self, question: OfferUpload) -> OfferedUpload:
        """A form with which a browser puts a file into the bucket by itself."""
        try:
            if self._incoming is None:
                raise NotTaken("not_found", "Files are not put into this store directly.")
            if question.mime_type not in TAKEN_TYPES:
                raise NotTaken("unsupported_media", f"Files of this type are not taken: {question.mime_type[:100]}.")
            await self._check_size(question.user_id, question.size_bytes)
            url, fields, expires_at = await self._incoming.offer(
                question.upload_id, question.mime_type, question.size_bytes
            )
        except NotTaken as refusal:
            return OfferedUpload(failure=Failure(code=refusal.code, message=str(refusal)))
        values = {
            "upload_id": question.upload_id,
            "owner_id": question.user_id,
            "size_bytes": question.size_bytes,
            "expires_at": expires_at,
        }
        async with self._database.statement() as connection:
            await connection.execute(_OFFER, values)
        return OfferedUpload(url=url, fields=fields, expires_at=expires_at)

    async def _take(self, question: TakeUpload) -> TakenUpload:
        identity = asset_id(question.upload_id, 0)
        async with self._database.statement() as connection:
            row = (await connection.execute(_FIND, {"id": identity, "owner_id": question.user_id})).first()
        if row is not None and row.state == "stored":
            if question.sha256 is not None and row.given_sha256 not in {None, question.sha256}:
                raise NotTaken("another_file", "Another file was sent as this upload before.")
            return TakenUpload(asset=assets.asset_of(row), visibility=Visibility(row.visibility))
        with ExitStack() as bodies:
            body = await self._receive(question)
            bodies.callback(body.content.close)
            await self._check_size(question.user_id, body.size, identity)
            if self._scanner is not None:
                await self._scanner.scan(body.content)
            prepared = await self._preparation.clean(body)
            bodies.callback(prepared.body.content.close)
            asset = await self._keep(identity, question, prepared)
        if question.claim is None and self._incoming is not None:
            await self._incoming.delete(question.upload_id)
        log.info("upload.stored", asset=str(asset.id), mime_type=asset.mime_type, bytes=asset.size_bytes)
        return TakenUpload(asset=asset, visibility=question.visibility, is_new=True)

    async def _receive(self, question: TakeUpload) -> Body:
        max_bytes = self._max_bytes if question.claim is not None else await self._offered(question)
        arriving = Arriving(Kind.VIDEO, max_bytes)
        try:
            if question.claim is not None:
                await arriving.take(self._claims.chunks(question.claim, max_bytes))
            elif self._incoming is not None:
                await arriving.take(self._incoming.chunks(question.upload_id))
            return await arriving.whole()
        except Absent:
            arriving.close()
            raise NotTaken("not_found", "Nothing has been uploaded yet.") from None
        except BaseException:
            arriving.close()
            raise

    async def _offered(self, question: TakeUpload) -> int:
        """How long the file may be that this user was offered a place for."""
        values = {"upload_id": question.upload_id, "owner_id": question.user_id, "seconds": FINALIZE_SECONDS}
        async with self._database.statement() as connection:
            size_bytes = (await connection.execute(_OFFERED, values)).scalar_one_or_none()
        if size_bytes is None or self._incoming is None:
            raise NotTaken("not_found", "There is no such upload, or it has expired.")
        return int(size_bytes)

    async def _check_size(self, user_id: UUID, size_bytes: int, identity: UUID | None = None) -> None:
        if size_bytes > self._max_bytes:
            raise NotTaken("too_large", f"A file may have {self._max_bytes} bytes at most.")
        usage = await self._keeping.usage(user_id, identity)
        _check_quota(usage.used_bytes + size_bytes, usage.quota_bytes)

    async def _keep(self, identity: UUID, question: TakeUpload, prepared: Prepared) -> Asset:
        """As of a generation: the row, then the bytes, then the row again."""
        user_id, digest = question.user_id, prepared.body.sha256
        name = name_of(user_id, digest)
        values = {
            "id": identity,
            "owner_id": user_id,
            "token": secrets.token_hex(16),
            "mime_type": prepared.mime_type,
            "size_bytes": prepared.body.size,
            "sha256": digest,
            "width": prepared.width,
            "height": prepared.height,
            "seconds": prepared.seconds,
            "bitrate": prepared.bitrate,
            "blurhash": prepared.blurhash,
            "backend": self._objects.backend,
            "visibility": question.visibility,
            "given_sha256": question.sha256,
            "object_name": name,
        }
        async with self._database.transaction() as connection:
            # One upload of a user at a time counts what is there, so that two do not share the last of the quota.
            await connection.execute(_ALONE, {"owner": str(user_id)})
            usage = await self._keeping.usage_on(connection, user_id, identity)
            _check_quota(usage.used_bytes + prepared.body.size, usage.quota_bytes)
            token = (await connection.execute(_OPEN, values)).scalar_one_or_none()
        if token is None:
            raise NotTaken("unavailable", "The same file is being taken already.")
        asset = Asset(
            id=identity,
            index=0,
            mime_type=prepared.mime_type,
            size_bytes=prepared.body.size,
            sha256=digest,
            width=prepared.width,
            height=prepared.height,
            seconds=prepared.seconds,
            bitrate=prepared.bitrate,
            blurhash=prepared.blurhash,
            **addresses(token, prepared.mime_type),
        )
        await self._objects.put(name, prepared.body.content, prepared.body.size)
        if not (await assets.finish_rows(self._database, [[asset]]))[0]:
            raise NotTaken("unavailable", "The same file is being taken already.")
        return asset


def _check_quota(needed_bytes: int, quota_bytes: int | None) -> None:
    if quota_bytes is not None and needed_bytes > quota_bytes:
        raise NotTaken("quota_exceeded", f"There is room for {quota_bytes} bytes, and {needed_bytes} would be needed.")
