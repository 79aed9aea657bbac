"""Files that users of the jaaz frontend brought: what storage made of them, under the name that they had."""

import base64
import binascii
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text
from starlette.requests import Request

from contracts.facts import Asset, Visibility
from contracts.ids import asset_id, keyed_generation_id
from gateway.forms import FILE, FieldsAndFiles
from gateway.identity import Caller
from gateway.inputs import FILE_PATH
from gateway.orders import checked_key
from gateway.refusals import Invalid, NotFound, Refusal, Unavailable, UnsupportedMedia
from gateway.uploads import ROUTE, Upload, Uploads
from runtime.database import Database, Row

CHUNK_BYTES = 128 << 10
MAX_NAME_CHARACTERS = 200
_DATA_URL = re.compile(r"data:(image/[a-z0-9.+-]+|video/[a-z0-9.+-]+|audio/[a-z0-9.+-]+);base64,", re.IGNORECASE)

# Under a key a file is the same one, and its id, which is its upload's, is not to be worked out from that: the upload
# has a key of its own, which nobody else knows. Files from before have the user's own.
_ASKED = text("""
    SELECT id, upload_key FROM uploaded_files
    WHERE user_id = :user_id AND (asked_id = :asked_id OR id = :asked_id AND generation_id IS NULL)
    ORDER BY asked_id LIMIT 1
""")
_KEEP = text("""
    WITH known AS (
        UPDATE uploaded_files SET key = :key WHERE id = :id AND user_id = :user_id RETURNING *
    ), kept AS (
        INSERT INTO uploaded_files
            (id, asked_id, upload_key, user_id, filename, key, mime_type, size_bytes, width, height)
        SELECT :id, CAST(:asked_id AS uuid), CAST(:upload_key AS text), :user_id, :filename, :key, :mime_type,
            :size_bytes, :width, :height
        WHERE NOT EXISTS (SELECT FROM known)
        ON CONFLICT (user_id, asked_id) WHERE asked_id IS NOT NULL DO UPDATE SET asked_id = excluded.asked_id
        RETURNING *
    )
    SELECT *, NULL AS visibility FROM (SELECT * FROM known UNION ALL SELECT * FROM kept) AS file
""")
_NOTE = text("""
    INSERT INTO uploaded_files (id, user_id, filename, key, mime_type, size_bytes, width, height, generation_id)
    VALUES (:id, :user_id, :filename, :key, :mime_type, :size_bytes, :width, :height, :generation_id)
    ON CONFLICT (id) DO UPDATE SET key = excluded.key
""")
_OWN = text("""
    SELECT id FROM uploaded_files
    WHERE id = :id AND user_id = :user_id AND generation_id IS NULL
""")
_DELETE = text("DELETE FROM uploaded_files WHERE id = :id AND user_id = :user_id AND generation_id IS NULL")
_FILES = """
    SELECT f.*, g.particulars ->> 'visibility' AS visibility
    FROM uploaded_files f LEFT JOIN generations g ON g.id = f.generation_id
"""
_LIST = text(f"""
    {_FILES} WHERE f.user_id = :user_id AND g.deleted_at IS NULL
    ORDER BY f.created_at DESC, f.id DESC LIMIT :limit OFFSET :offset
""")
_GET = text(f"{_FILES} WHERE f.id = :id AND g.deleted_at IS NULL")


@dataclass(frozen=True, slots=True)
class File:
    """`key` is where storage serves it."""

    id: UUID
    user_id: UUID
    filename: str
    key: str
    mime_type: str
    size_bytes: int
    width: int | None
    height: int | None
    created_at: datetime
    visibility: Visibility
    """What was brought is everybody's who knows its address; what was made is whose its generation says."""


class Files:
    """The files and what they need."""

    def __init__(self, database: Database, uploads: Uploads, public_url: str) -> None:
        self._database = database
        self._uploads = uploads
        self._public_url = public_url.rstrip("/")
        uploads.listed_by.append(self._forget)

    async def take_sent(self, caller: Caller, request: Request, key: str | None = None) -> File:
        """The part `file` of a form. Raises Refusal: why it is not taken."""
        form = FieldsAndFiles(request, self._uploads.max_form_bytes, (FILE,), most_files=1)
        taken = [(part.filename, *await self._upload(caller, chunks, key)) async for part, chunks in form.files()]
        if not taken:
            raise Invalid("The form has to have one part 'file'.")
        [(name, upload, asked)] = taken
        return await self._keep(caller, name or "file", upload, asked)

    async def _upload(
        self, caller: Caller, chunks: AsyncIterator[bytes], key: str | None, *, is_here: bool = False
    ) -> tuple[Upload, dict[str, Any]]:
        """The upload, and what its row has to say so that it is found again."""
        asked: dict[str, Any] = {"asked_id": None, "upload_key": None}
        if key is not None:
            asked_id = keyed_generation_id(caller.user_id, ROUTE, checked_key(key))
            known = await self._asked(caller, asked_id)
            asked = {"asked_id": asked_id, "upload_key": known.upload_key if known is not None else uuid4().hex}
            key = asked["upload_key"] or key
        # Its address stands in canvases, for ever.
        return await self._uploads.take(caller, chunks, key, visibility=Visibility.PUBLIC, is_here=is_here), asked

    async def _asked(self, caller: Caller, asked_id: UUID) -> Row | None:
        async with self._database.statement() as connection:
            return (await connection.execute(_ASKED, {"user_id": caller.user_id, "asked_id": asked_id})).one_or_none()

    async def _keep(self, caller: Caller, name: str, upload: Upload, asked: dict[str, Any]) -> File:
        asset = upload.asset
        values = {
            **asked,
            "id": upload.id,
            "user_id": caller.user_id,
            "filename": _printable(name),
            "key": asset.key,
            "mime_type": asset.mime_type,
            "size_bytes": asset.size_bytes,
            "width": asset.width,
            "height": asset.height,
        }
        async with self._database.statement() as connection:
            file = _file((await connection.execute(_KEEP, values)).one())
        if file.id != upload.id:  # the same one came at the same time, and was first
            with contextlib.suppress(Refusal):
                await self._uploads.delete(caller, asset.id)
        return file

    async def note(self, caller: Caller, asset: Asset, generation_id: UUID) -> None:
        """Something that a generation made for the caller, as a file of theirs."""
        kind, _, suffix = asset.mime_type.partition("/")
        values = {
            "id": asset.id,
            "user_id": caller.user_id,
            "filename": f"{kind}-{asset.id}.{suffix}",
            "key": asset.key,
            "mime_type": asset.mime_type,
            "size_bytes": asset.size_bytes,
            "width": asset.width,
            "height": asset.height,
            "generation_id": generation_id,
        }
        async with self._database.statement() as connection:
            await connection.execute(_NOTE, values)

    async def delete(self, caller: Caller, file_id: UUID) -> None:
        """Something that the caller brought; what a generation made is deleted with it.

        Raises:
            NotFound: there is no such file of theirs. Unavailable: nothing has changed.
            NotFinished: something that is being made starts from it.
        """
        whose = {"id": file_id, "user_id": caller.user_id}
        async with self._database.statement() as connection:
            is_own = (await connection.execute(_OWN, whose)).first() is not None
        if not is_own:
            raise NotFound("There is no such file of yours.")
        with contextlib.suppress(NotFound):
            await self._uploads.remove(caller, file_id)

    async def _forget(self, caller: Caller, upload_id: UUID) -> None:
        async with self._database.statement() as connection:
            await connection.execute(_DELETE, {"id": upload_id, "user_id": caller.user_id})

    async def of(self, caller: Caller, limit: int, offset: int) -> list[File]:
        """The caller's, newest first."""
        async with self._database.statement() as connection:
            values = {"user_id": caller.user_id, "limit": limit, "offset": offset}
            return [_file(row) for row in await connection.execute(_LIST, values)]

    async def at(self, file_id: UUID) -> File:
        """Whoever knows the id may see it, as with every address of media: `<img>` sends no token. The file says
        whether it is its owner's alone. Raises NotFound."""
        async with self._database.statement() as connection:
            row = (await connection.execute(_GET, {"id": file_id})).one_or_none()
        if row is None:
            raise NotFound("There is no such file.")
        return _file(row)

    async def unpacked(self, caller: Caller, value: Any) -> Any:
        """The same, where every file that is embedded as a data URL has become one of the user's, and each of ours is
        named by its path: clients save the whole addresses that they were shown.

        Raises:
            Refusal: one of them is not taken.
        """
        if isinstance(value, str) and value[:5].lower() == "data:":
            return await self._unpack(caller, value)
        if isinstance(value, str) and value.startswith(self._public_url + FILE_PATH):
            return value.removeprefix(self._public_url)
        if isinstance(value, dict):
            return {name: await self.unpacked(caller, part) for name, part in value.items()}
        if isinstance(value, list):
            return [await self.unpacked(caller, part) for part in value]
        return value

    async def _unpack(self, caller: Caller, url: str) -> str:
        head = _DATA_URL.match(url)
        if head is None:
            return url
        try:
            data = base64.b64decode(url[head.end() :], validate=True)
        except binascii.Error as error:
            raise Invalid("An embedded file is not valid base64.") from error
        # Sent again, as clients do with every change, it is the same file.
        key = f"embedded-{sha256(data).hexdigest()}"
        known = await self._asked(caller, keyed_generation_id(caller.user_id, ROUTE, key))
        if known is not None and await self._is_stored(caller, known.id):
            return f"{FILE_PATH}{known.id}"
        try:
            taken = await self._upload(caller, _chunks_of(data), key, is_here=True)
        except UnsupportedMedia:
            return url  # a drawing in SVG, say: it stays where it is, within the bounds of its canvas
        file = await self._keep(caller, "embedded", *taken)
        return f"{FILE_PATH}{file.id}"

    async def _is_stored(self, caller: Caller, upload_id: UUID) -> bool:
        """It may have been deleted since, or forgotten. While storage is away, what was stored once is believed: the
        canvas can be saved, and its client sends the file again with the next change."""
        try:
            return await self._uploads.has(caller, asset_id(upload_id, 0))
        except Unavailable:
            return True


async def _chunks_of(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]


def _printable(name: str) -> str:
    """A name for people: no path, nothing that cannot be stored."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1].encode("utf-8", "replace").decode()
    return "".join(character for character in last if character.isprintable())[:MAX_NAME_CHARACTERS] or "file"


def _file(row: Row) -> File:
    return File(
        row.id,
        row.user_id,
        row.filename,
        row.key,
        row.mime_type,
        row.size_bytes,
        row.width,
        row.height,
        row.created_at,
        Visibility(row.visibility or Visibility.PUBLIC),
    )
