"""Canvases: rows whose version grows with every change, so that no writer wipes what it has not seen."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import text

from gateway.dialects.jaaz import elements as things
from gateway.dialects.jaaz.elements import Element
from gateway.dialects.jaaz.files import Files
from gateway.identity import Caller
from gateway.orders import unfit
from gateway.refusals import BodyTooLarge, Invalid, NotFound, QuotaExceeded, StaleVersion
from runtime.database import Connection, Database, Row

MAX_CANVASES = 1000
MAX_ELEMENTS = 10_000
MAX_KEPT_BYTES = 16 << 20
"""Of one canvas, once embedded files have become assets."""
MAX_NAME_CHARACTERS = 200
MAX_LISTED = 1000

_COLUMNS = """id, name, description, thumbnail, elements::text AS elements, app_state::text AS app_state,
    files::text AS files, version, created_at, updated_at"""
_INSERT = text(f"""
    INSERT INTO canvases (user_id, id, name, description, thumbnail, elements, app_state, files)
    SELECT :user_id, :id, :name, :description, :thumbnail, CAST(:elements AS jsonb), CAST(:app_state AS jsonb),
        CAST(:files AS jsonb)
    WHERE (SELECT count(*) FROM canvases WHERE user_id = :user_id) < :most
    ON CONFLICT (user_id, id) DO NOTHING RETURNING {_COLUMNS}
""")
_GET = text(f"SELECT {_COLUMNS} FROM canvases WHERE user_id = :user_id AND id = :id")
_IS_THERE = text("SELECT id FROM canvases WHERE user_id = :user_id AND id = :id")
_LOCK = text(f"SELECT {_COLUMNS} FROM canvases WHERE user_id = :user_id AND id = :id FOR UPDATE")
_UPDATE = text(f"""
    UPDATE canvases SET name = :name, thumbnail = :thumbnail, elements = CAST(:elements AS jsonb),
        app_state = CAST(:app_state AS jsonb), files = CAST(:files AS jsonb), version = version + 1, updated_at = now()
    WHERE user_id = :user_id AND id = :id RETURNING {_COLUMNS}
""")
_LIST = text("""
    SELECT id, name, description, thumbnail, version, created_at, updated_at FROM canvases WHERE user_id = :user_id
    ORDER BY updated_at DESC, id LIMIT :limit
""")
_DELETE = text("DELETE FROM canvases WHERE user_id = :user_id AND id = :id RETURNING id")


@dataclass(frozen=True, slots=True)
class Canvas:
    """One row. `files` is Excalidraw's map of them; embedded ones are named by path."""

    id: str
    name: str
    description: str
    thumbnail: str | None
    elements: list[Element]
    app_state: dict[str, Any]
    files: dict[str, Any]
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """What a writer says of a canvas; None leaves a part as it is.

    With the `version` that it knew it says the whole: what it leaves out goes. Without one, what it does not name
    stays, and of each element the newer version is kept.
    """

    name: str | None = None
    thumbnail: str | None = None
    elements: list[Element] | None = None
    app_state: dict[str, Any] | None = None
    files: dict[str, Any] | None = None
    version: int | None = None


class Canvases:
    """The canvases and what they need."""

    def __init__(self, database: Database, files: Files) -> None:
        self._database = database
        self._files = files

    async def create(self, caller: Caller, canvas_id: str, change: Change, description: str = "") -> Canvas:
        """A new canvas; the one that is there where the id is taken, so that asking again is harmless.

        Raises:
            Invalid, BodyTooLarge: it cannot be kept. QuotaExceeded: there are too many. Refusal: of an embedded file.
        """
        change = await self._ready(caller, change)
        values = {
            **_values(change.elements or [], change.app_state or {}, change.files or {}, change.thumbnail),
            "user_id": caller.user_id,
            "id": canvas_id,
            "name": change.name or "Untitled",
            "description": description,
            "most": MAX_CANVASES,
        }
        async with self._database.statement() as connection:
            row = (await connection.execute(_INSERT, values)).one_or_none() or await _get(connection, caller, canvas_id)
        if row is None:
            raise QuotaExceeded(f"You have {MAX_CANVASES} canvases; delete some first.")
        return _canvas(row)

    async def update(self, caller: Caller, canvas_id: str, change: Change) -> Canvas:
        """The canvas after the change.

        Raises:
            NotFound: no such canvas of this user. StaleVersion: somebody else was first.
            Invalid, BodyTooLarge: it cannot be kept. Refusal: of an embedded file.
        """
        change = await self._ready(caller, change)
        return await self.revise(caller, canvas_id, lambda _: change)

    async def revise(self, caller: Caller, canvas_id: str, change_of: Callable[[Canvas], Change | None]) -> Canvas:
        """The canvas after a change that depends on how it is now, with no file embedded; None changes nothing.

        Raises:
            NotFound, StaleVersion, Invalid, BodyTooLarge: as `update` does.
        """
        async with self._database.transaction() as connection:
            row = (await connection.execute(_LOCK, {"user_id": caller.user_id, "id": canvas_id})).one_or_none()
            if row is None:
                raise NotFound("There is no such canvas.")
            change = change_of(_canvas(row))
            if change is None:
                return _canvas(row)
            if change.version is not None and change.version != row.version:
                raise StaleVersion("The canvas was changed meanwhile.", details={"version": row.version})
            canvas = _changed(_canvas(row), change)
            values = {
                **_values(canvas.elements, canvas.app_state, canvas.files, canvas.thumbnail),
                "user_id": caller.user_id,
                "id": canvas_id,
                "name": canvas.name,
            }
            return _canvas((await connection.execute(_UPDATE, values)).one())

    async def is_there(self, caller: Caller, canvas_id: str) -> bool:
        async with self._database.statement() as connection:
            values = {"user_id": caller.user_id, "id": canvas_id}
            return (await connection.execute(_IS_THERE, values)).first() is not None

    async def get(self, caller: Caller, canvas_id: str) -> Canvas:
        """Raises NotFound, for somebody else's, too."""
        async with self._database.statement() as connection:
            row = await _get(connection, caller, canvas_id)
        if row is None:
            raise NotFound("There is no such canvas.")
        return _canvas(row)

    async def all(self, caller: Caller) -> list[Row]:
        """The caller's, the last changed first, without what stands on them."""
        async with self._database.statement() as connection:
            return list(await connection.execute(_LIST, {"user_id": caller.user_id, "limit": MAX_LISTED}))

    async def delete(self, caller: Caller, canvas_id: str) -> None:
        """Raises NotFound."""
        async with self._database.statement() as connection:
            deleted = await connection.execute(_DELETE, {"user_id": caller.user_id, "id": canvas_id})
        if deleted.first() is None:
            raise NotFound("There is no such canvas.")

    async def _ready(self, caller: Caller, change: Change) -> Change:
        """The change with its embedded files brought to storage, checked before anything is locked."""
        for part in (change.name, change.thumbnail, change.elements, change.app_state, change.files):
            if (problem := unfit(part)) is not None:
                raise Invalid(f"The canvas cannot be kept: {problem}.")
        if len(change.name or "") > MAX_NAME_CHARACTERS:
            raise Invalid(f"A canvas's name has {MAX_NAME_CHARACTERS} characters at most.")
        return replace(
            change,
            thumbnail=await self._files.unpacked(caller, change.thumbnail),
            elements=await self._files.unpacked(caller, change.elements),
            files=await self._files.unpacked(caller, change.files),
        )


def _changed(canvas: Canvas, change: Change) -> Canvas:
    is_whole = change.version is not None
    elements, app_state, files = canvas.elements, canvas.app_state, canvas.files
    if change.elements is not None:
        elements = change.elements if is_whole else things.merged(elements, change.elements)
    if change.app_state is not None:
        app_state = change.app_state if is_whole else {**app_state, **change.app_state}
    if change.files is not None:
        files = change.files if is_whole else {**files, **change.files}
    return replace(
        canvas,
        name=change.name or canvas.name,
        thumbnail=canvas.thumbnail if change.thumbnail is None else change.thumbnail,
        elements=elements,
        app_state=app_state,
        files=files,
    )


def _values(
    elements: list[Element], app_state: dict[str, Any], files: dict[str, Any], thumbnail: str | None
) -> dict[str, Any]:
    """What was deleted is kept for writers who have not seen that, as long as there is room: it is not shown, so that
    nobody could make any.

    Raises Invalid, BodyTooLarge.
    """
    elements = things.named(elements)
    with contextlib.suppress(Invalid, BodyTooLarge):
        return _written(elements, app_state, files, thumbnail)
    return _written(things.visible(elements), app_state, files, thumbnail)


def _written(
    elements: list[Element], app_state: dict[str, Any], files: dict[str, Any], thumbnail: str | None
) -> dict[str, Any]:
    if len(elements) > MAX_ELEMENTS:
        raise Invalid(f"A canvas has {MAX_ELEMENTS} elements at most.")
    parts = {"elements": elements, "app_state": app_state, "files": files}
    written = {name: json.dumps(part) for name, part in parts.items()}
    if sum(map(len, written.values())) + len(thumbnail or "") > MAX_KEPT_BYTES:
        raise BodyTooLarge(f"A canvas may have {MAX_KEPT_BYTES} bytes at most, without its files.")
    return {"thumbnail": thumbnail, **written}


async def _get(connection: Connection, caller: Caller, canvas_id: str) -> Row | None:
    return (await connection.execute(_GET, {"user_id": caller.user_id, "id": canvas_id})).one_or_none()


def _canvas(row: Row) -> Canvas:
    return Canvas(
        row.id,
        row.name,
        row.description,
        row.thumbnail,
        json.loads(row.elements),
        json.loads(row.app_state),
        json.loads(row.files),
        row.version,
        row.created_at,
        row.updated_at,
    )
