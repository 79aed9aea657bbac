"""What was made before, in the place of something new: for the same request of the same user, where both said so.

Which earlier generation it is stands in the row of the work before anything is done about it, so that whoever goes on
comes to the same end. Storage then makes its assets the new one's as well; where they are not all there any more, the
row forgets it and the request is carried out. Only what was really made is taken, never what was itself answered so.
"""

import hashlib
import json
import unicodedata
from uuid import UUID

import structlog
from faststream.nats import NatsBroker
from prometheus_client import Counter
from sqlalchemy import text

from contracts.facts import Cached, Ending, Failure, Kind, Outcome, Output, Rendering, Request, Verdict
from contracts.keeping import (
    ChangedAssets,
    ReuseAssets,
)
from contracts.questions import STORAGE_REUSE
from generator.work import Lease
from runtime.database import Database

ANSWER_SECONDS = 5.0
"""How long storage is waited for; asking again is harmless."""
RESULT_GONE = Failure(code="result_gone", message="What was made before is not kept any more.")

# The newest of those that were delivered wholly.
_NOTE = text("""
    WITH earlier AS (
        SELECT generation_id FROM work
        WHERE reuse_key = :key AND state = 'closed' AND reused IS NULL AND generation_id <> :generation_id
            AND created_at > now() - make_interval(secs => :seconds) AND outcome #>> '{data,verdict}' = 'completed'
            AND outcome #> '{data,cut_by}' IS NULL
            AND (outcome #> '{data,text}' IS NOT NULL
                OR jsonb_array_length(COALESCE(outcome #> '{data,assets}', '[]')) = :count)
        ORDER BY created_at DESC LIMIT 1
    )
    UPDATE work SET reuse_key = :key, reused = COALESCE(reused, (SELECT generation_id FROM earlier))
    WHERE generation_id = :generation_id AND fence = :fence AND state = 'open'
    RETURNING reused
""")
_FORGET = text("""
    UPDATE work SET reused = NULL WHERE generation_id = :generation_id AND fence = :fence AND state = 'open'
""")
_OUTCOME = text("SELECT outcome::text AS outcome FROM work WHERE generation_id = :generation_id")

log = structlog.get_logger()
REUSES = Counter("reuses_total", "Requests that could be answered with what was made before.", ["kind", "result"])


class Reuses:
    """Looks for what was made before."""

    def __init__(self, database: Database, broker: NatsBroker) -> None:
        self._database = database
        self._broker = broker

    async def find(self, lease: Lease) -> Rendering | Ending | None:
        """What a generation is answered with, before any attempt; None where it has to be made. It may be asked again
        after any line.

        Raises:
            OSError, nats.errors.Error, sqlalchemy.exc.DBAPIError: the database or storage is away; do it again.
        """
        request = lease.request
        if request.reuse is None:
            return None
        values = {"generation_id": request.generation_id, "fence": lease.fence}
        noted = {"key": key_of(request), "seconds": request.reuse.seconds, "count": request.count}
        async with self._database.statement() as connection:
            earlier_id = (await connection.execute(_NOTE, values | noted)).scalar_one_or_none()
        found = await self.conclusion(request, earlier_id) if earlier_id is not None else None
        if isinstance(found, Rendering) and earlier_id is not None and not await self._stored(request, earlier_id):
            async with self._database.statement() as connection:
                await connection.execute(_FORGET, values)
            REUSES.labels(request.kind, "gone").inc()
            return None
        REUSES.labels(request.kind, "none" if found is None else "cached").inc()
        return found

    async def conclusion(self, request: Request, earlier_id: UUID) -> Rendering | Ending | None:
        """What is said about a generation that is answered from an earlier one, as often as it is asked for."""
        async with self._database.statement() as connection:
            recorded = (await connection.execute(_OUTCOME, {"generation_id": earlier_id})).scalar_one_or_none()
        if recorded is None or request.reuse is None:
            return None
        earlier = Outcome.decode(recorded.encode()).data
        cached = Cached(generation_id=earlier_id, percent=request.reuse.percent)
        if earlier.text is None:
            outputs = tuple(Output(index=index, failure=RESULT_GONE) for index in range(request.count))
            return Rendering(request=request, provider=earlier.provider or "", outputs=outputs, cached=cached)
        return Ending(
            generation_id=request.generation_id,
            verdict=Verdict.COMPLETED,
            text=earlier.text,
            usage=earlier.usage,
            provider=earlier.provider,
            cached=cached,
        )

    async def _stored(self, request: Request, earlier_id: UUID) -> bool:
        """Whether storage made the earlier assets those of this generation as well."""
        question = ReuseAssets(
            user_id=request.user_id,
            generation_id=request.generation_id,
            earlier_id=earlier_id,
            count=request.count,
            visibility=request.visibility,
        )
        payload = question.model_dump_json().encode()
        answer = await self._broker.connection.request(STORAGE_REUSE, payload, timeout=ANSWER_SECONDS)
        return ChangedAssets.model_validate_json(answer.data).assets == request.count


def key_of(request: Request) -> bytes:
    """The same for the same request of one user, as that user sees it."""
    asked = [
        str(request.user_id),
        request.kind,
        request.model,
        _normalised(request.prompt, request.kind),
        request.count,
        request.size,
        request.seconds,
        [given.model_dump(mode="json") for given in request.inputs],
        [message.model_dump(mode="json", exclude_defaults=True) for message in request.messages],
        request.max_tokens,
        request.options,
    ]
    if request.tools or request.since:
        asked += [[each.model_dump(mode="json") for each in (*request.tools, *request.since)]]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).digest()


def _normalised(prompt: str, kind: Kind) -> str:
    """However it was typed; what is written or spoken is taken word for word."""
    composed = unicodedata.normalize("NFC", prompt)
    return " ".join(composed.split()) if kind in {Kind.IMAGE, Kind.VIDEO} else composed
