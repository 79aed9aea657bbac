"""Media that users start something from: found by whatever names it, and lent to whoever is about to use its bytes.

Somebody else's is not there. Bytes are lent by claim, under a name that says what they are and when: whoever asks
again finds them, and none is taken away while it is read.
"""

import re
import time
from contextlib import aclosing

import structlog
from sqlalchemy import text

from contracts.facts import Failure
from contracts.keeping import LENT_SECONDS, FindMedia, FoundMedia, Lend, Lent, MediaName, NamedMedia
from runtime.database import Database, Row
from runtime.health import is_transient
from storage import assets
from storage.addresses import EXTENSIONS, KEY, ORIGINAL, type_of, variants_of
from storage.assets import Named
from storage.claims import Claims
from storage.objects import Absent, Objects
from storage.pictures import Unusable
from storage.variants import Variants

MAX_LENT_BYTES = 64 << 20
"""Of one asset, whatever is asked for."""

log = structlog.get_logger()

_KEY = re.compile(KEY)
_FIND = text("""
    SELECT id, token, mime_type, size_bytes, seconds FROM assets
    WHERE owner_id = :owner_id AND state = 'stored'
        AND (id = ANY(CAST(:ids AS uuid[])) OR token = ANY(CAST(:tokens AS text[])))
""")
_TOKEN = text("SELECT token FROM assets WHERE id = :id AND owner_id = :owner_id AND state = 'stored'")


class Lending:
    """Stored media as something to start from."""

    def __init__(self, database: Database, objects: Objects, claims: Claims, variants: Variants) -> None:
        self._database = database
        self._objects = objects
        self._claims = claims
        self._variants = variants

    async def find(self, question: FindMedia) -> FoundMedia:
        """What the names stand for; a key has to be one at which something is served."""
        values = {
            "owner_id": question.user_id,
            "ids": [name.asset_id for name in question.names if name.asset_id is not None],
            "tokens": [name.key.partition("/")[0] for name in question.names if name.key is not None],
        }
        async with self._database.statement() as connection:
            rows = (await connection.execute(_FIND, values)).all()
        known: dict[object, Row] = {row.id: row for row in rows} | {row.token: row for row in rows}
        return FoundMedia(media=tuple(_media(name, known) for name in question.names))

    async def lend(self, question: Lend) -> Lent:
        """The claim of the bytes, or why there is none."""
        try:
            named = await self._named(question)
            if named.size_bytes > min(question.max_bytes, MAX_LENT_BYTES):
                message = f"What this starts from has {named.size_bytes} bytes, which is too much."
                return Lent(failure=Failure(code="too_large", message=message))
            claim = f"lent/{named.object_name}/{int(time.time() // LENT_SECONDS)}"
            if not await self._claims.has(claim):
                async with aclosing(self._objects.open(named.object_name)) as chunks:
                    await self._claims.put(claim, chunks)
        except (Absent, Unusable):
            message = "What this starts from is not there any more."
            return Lent(failure=Failure(code="input_not_found", message=message))
        except Exception as error:
            if not is_transient(error):
                raise
            log.warning("asset.not_lent", asset=str(question.asset_id), error=f"{type(error).__name__}: {error}"[:200])
            message = "What this starts from cannot be read at the moment."
            return Lent(failure=Failure(code="unavailable", message=message))
        return Lent(claim=claim, mime_type=named.mime_type)

    async def _named(self, question: Lend) -> Named:
        """Raises Absent, and what Variants.get does."""
        variant = question.variant or ORIGINAL
        async with self._database.statement() as connection:
            values = {"id": question.asset_id, "owner_id": question.user_id}
            token = (await connection.execute(_TOKEN, values)).scalar_one_or_none()
        sought = await assets.seek(self._database, token, variant) if token is not None else None
        if sought is None:
            raise Absent(str(question.asset_id))
        return sought.original if variant == ORIGINAL else await self._variants.get(sought, variant)


def _media(name: MediaName, known: dict[object, Row]) -> NamedMedia | None:
    key = _KEY.fullmatch(name.key or "")
    row = known.get(name.asset_id or (key[1] if key else None))
    if row is None:
        return None
    found = NamedMedia(asset_id=row.id, mime_type=row.mime_type, size_bytes=row.size_bytes, seconds=row.seconds)
    if key is None or name.key == f"{row.token}/{ORIGINAL}.{EXTENSIONS[row.mime_type]}":
        return found
    if name.key != f"{row.token}/{key[2]}.{EXTENSIONS[type_of(key[2])]}" or key[2] not in variants_of(row.mime_type):
        return None
    return found.model_copy(update={"variant": key[2], "mime_type": type_of(key[2]), "seconds": None})
