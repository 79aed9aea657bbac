"""Who is heard in the films: ours, which everybody has, and voices that users had made of a sample.

Such a voice is its user's alone. A row is there before anybody is asked to make the voice: none is made of which
nobody knows; it is shown once there is one. It is deleted at the provider first, and here after that.
"""

import contextlib
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog
from faststream.nats import NatsBroker
from sqlalchemy import text

from contracts.facts import Asset
from contracts.questions import GENERATOR_CLONE_VOICE, GENERATOR_FORGET_VOICE
from contracts.voices import ClonedVoice, CloneVoice, ForgetVoice, ForgottenVoice
from gateway.identity import Caller
from gateway.questions import ask
from gateway.refusals import Invalid, NotFound, QuotaExceeded, Unavailable
from gateway.uploads import Uploads
from runtime.database import Database, Row

ROUTE = "/api/ai-studio/voices"
MAX_VOICES = 10
"""Of one user."""
MAX_SAMPLE_BYTES = 10 * 1024 * 1024
LEAST_SECONDS, MOST_SECONDS = 3, 300
"""Of a sample."""
CLONE_SECONDS = 90.0
FORGET_SECONDS = 30.0
_SILENCE = "Voices cannot be made or deleted right now; try again."
_REFUSED = {"invalid_request", "input_not_found", "content_policy"}
"""What is the sample's fault."""

_VOICES = text("""
    SELECT * FROM ai_voices
    WHERE voice IS NOT NULL AND forget_at IS NULL AND (user_id IS NULL OR user_id = :user_id)
    ORDER BY user_id IS NOT NULL, created_at, id
""")
_VOICE = text("""
    SELECT * FROM ai_voices
    WHERE id = :id AND voice IS NOT NULL AND forget_at IS NULL AND (user_id IS NULL OR user_id = :user_id)
""")
_COUNTED = (
    """FROM ai_voices WHERE user_id = :user_id AND (voice IS NOT NULL OR created_at > now() - interval '1 hour')"""
)
_COUNT = text(f"SELECT count(*) {_COUNTED}")
_BEGIN = text(f"""
    INSERT INTO ai_voices (id, user_id, name, description, gender, language, sample_id, consented_at)
    SELECT :id, :user_id, :name, :description, :gender, :language, :id, now()
    WHERE (SELECT count(*) {_COUNTED}) < :most
    ON CONFLICT (id) DO UPDATE SET sample_id = ai_voices.sample_id RETURNING *
""")
_MADE = text("""
    UPDATE ai_voices SET voice = :voice, voice_provider = :provider WHERE id = :id AND user_id = :user_id RETURNING *
""")
_OWN = text("SELECT voice, sample_id FROM ai_voices WHERE id = :id AND user_id = :user_id AND forget_at IS NULL")
_DELETE = text("DELETE FROM ai_voices WHERE id = :id AND user_id = :user_id")
log = structlog.get_logger()


class Voices:
    """The voices, and who makes them."""

    def __init__(self, database: Database, broker: NatsBroker, uploads: Uploads) -> None:
        self._database = database
        self._broker = broker
        self._uploads = uploads

    async def all(self, caller: Caller) -> Sequence[Row]:
        """Ours, then the caller's own."""
        async with self._database.statement() as connection:
            return (await connection.execute(_VOICES, {"user_id": caller.user_id})).all()

    async def get(self, caller: Caller, voice_id: UUID) -> Row:
        """Raises NotFound, for somebody else's, too."""
        async with self._database.statement() as connection:
            row = (await connection.execute(_VOICE, {"id": voice_id, "user_id": caller.user_id})).one_or_none()
        if row is None:
            raise NotFound("There is no such voice.")
        return row

    async def check_room(self, caller: Caller) -> None:
        """Before a sample is taken. Raises QuotaExceeded."""
        async with self._database.statement() as connection:
            if (await connection.execute(_COUNT, {"user_id": caller.user_id})).scalar_one() >= MAX_VOICES:
                raise _full()

    async def make(self, caller: Caller, sample: Asset, about: dict[str, Any]) -> Row:
        """A voice of the caller's own, under its sample's id: the same sample again is the same voice.

        Raises:
            QuotaExceeded: there are enough. Invalid: of this sample no voice can be made.
            NotFound: it was deleted meanwhile, or its user is forgotten.
            Unavailable: nobody can make voices now; what was begun is gone on with when it is asked for again.
        """
        values = {**about, "id": sample.id, "user_id": caller.user_id, "most": MAX_VOICES}
        async with self._database.statement() as connection:
            begun = (await connection.execute(_BEGIN, values)).one_or_none()
        if begun is None:
            raise _full()
        if begun.forget_at is not None:
            raise NotFound("The voice is forgotten.")
        if begun.voice is not None:
            return begun
        question = CloneVoice(voice_id=sample.id, user_id=caller.user_id, sample_id=sample.id)
        made = await ask(self._broker, GENERATOR_CLONE_VOICE, question, ClonedVoice, CLONE_SECONDS, _SILENCE)
        whose = {"id": sample.id, "user_id": caller.user_id}
        if made.failure is not None:
            if made.failure.code in _REFUSED:
                async with self._database.statement() as connection:
                    await connection.execute(_DELETE, whose)
                raise Invalid(f"No voice can be made of this sample: {made.failure.message}")
            raise Unavailable(made.failure.message)
        async with self._database.statement() as connection:
            known = {"voice": made.name, "provider": made.provider}
            row = (await connection.execute(_MADE, whose | known)).one_or_none()
        if row is None:
            question_back = ForgetVoice(user_id=caller.user_id, name=made.name or "")
            await ask(self._broker, GENERATOR_FORGET_VOICE, question_back, ForgottenVoice, FORGET_SECONDS, _SILENCE)
            raise NotFound("The voice was deleted meanwhile.")
        if row.forget_at is not None:  # whoever forgets knows by now how its provider calls it
            raise NotFound("The voice was forgotten meanwhile.")
        log.info("voice.made", voice_id=str(sample.id))
        return row

    async def delete(self, caller: Caller, voice_id: UUID) -> None:
        """At its provider, then its sample, then here. Films in which it was heard stay.

        Raises:
            NotFound: ours are nobody's to delete. Unavailable: it is still there here.
        """
        whose = {"id": voice_id, "user_id": caller.user_id}
        async with self._database.statement() as connection:
            row = (await connection.execute(_OWN, whose)).one_or_none()
        if row is None:
            raise NotFound("There is no such voice of yours.")
        if row.voice is not None:
            question = ForgetVoice(user_id=caller.user_id, name=row.voice)
            gone = await ask(self._broker, GENERATOR_FORGET_VOICE, question, ForgottenVoice, FORGET_SECONDS, _SILENCE)
            if not gone.is_gone:
                raise Unavailable(_SILENCE)
        with contextlib.suppress(NotFound):
            await self._uploads.delete(caller, row.sample_id)
        async with self._database.statement() as connection:
            await connection.execute(_DELETE, whose)


def _full() -> QuotaExceeded:
    return QuotaExceeded(f"You have {MAX_VOICES} voices; delete some first.")


def check_sample(sample: Asset) -> None:
    """Raises Invalid."""
    if sample.size_bytes > MAX_SAMPLE_BYTES:
        raise Invalid(f"file: a sample has at most {MAX_SAMPLE_BYTES >> 20} MB")
    if not LEAST_SECONDS <= (sample.seconds or 0) <= MOST_SECONDS:
        raise Invalid(f"file: a sample is {LEAST_SECONDS} to {MOST_SECONDS} seconds long")
