"""The voices of a user who is forgotten: out of sight at once, deleted at their provider as soon as that answers.

The row is the promise: it goes once the provider has the voice no more, and until then it is asked again. Asking twice
is harmless, so replicas do not agree on who asks.
"""

import asyncio

import structlog
from faststream.nats import NatsBroker
from sqlalchemy import text

from contracts.keeping import Forget
from contracts.questions import GATEWAY_FORGET_VOICES, GENERATOR_FORGET_VOICE
from contracts.voices import ForgetVoice, ForgottenVoice, ForgottenVoices
from gateway.dialects.reelmate.voices import CLONE_SECONDS, FORGET_SECONDS
from gateway.questions import ask
from gateway.refusals import Unavailable
from runtime.broker import connected
from runtime.database import Database, Row

EVERY_SECONDS = 30.0
ROWS = 50
"""In one round."""
AGAIN_SECONDS = 600
"""After a provider that did not let go of a voice; others come first."""

_FORGET = text("""
    UPDATE ai_voices SET forget_at = coalesce(forget_at, now()
        + CASE WHEN voice IS NULL THEN make_interval(secs => 2 * :clone_seconds) ELSE interval '0' END)
    WHERE user_id = :user_id RETURNING id
""")
"""One that is being made may not be there yet when its provider is asked, and is waited for."""
_DUE = text("""
    SELECT id, user_id, voice FROM ai_voices WHERE forget_at <= now() ORDER BY forget_at LIMIT :rows
""")
_GONE = text("DELETE FROM ai_voices WHERE id = :id AND forget_at IS NOT NULL")
_LATER = text("UPDATE ai_voices SET forget_at = now() + make_interval(secs => :seconds) WHERE id = :id")
log = structlog.get_logger()


class Forgetting:
    """A loop in every gateway, and the answer to whoever forgets a user."""

    def __init__(self, database: Database, broker: NatsBroker) -> None:
        self._database = database
        self._broker = broker
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()

        @broker.subscriber(GATEWAY_FORGET_VOICES, queue="gateway")
        async def forget(question: Forget) -> ForgottenVoices:
            return await self.forget(question)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="forgetting")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def forget(self, question: Forget) -> ForgottenVoices:
        """A user's voices are shown and heard no more. Asked again: how many their provider still has."""
        values = {"user_id": question.user_id, "clone_seconds": CLONE_SECONDS}
        async with self._database.statement() as connection:
            voices = len((await connection.execute(_FORGET, values)).all())
        self._woken.set()
        return ForgottenVoices(voices=voices)

    async def round(self) -> int:
        """Asks the generator for some of those that are due; how many are gone. Where nobody answers the rest waits.

        Raises sqlalchemy.exc.DBAPIError, OSError: the database is away.
        """
        if not connected(self._broker):
            return 0
        async with self._database.statement() as connection:
            due = (await connection.execute(_DUE, {"rows": ROWS})).all()
        gone = 0
        for row in due:
            try:
                is_gone = await self._is_gone(row)
            except Unavailable:
                log.info("voice.not_forgotten", voice_id=str(row.id))
                break
            async with self._database.statement() as connection:
                if is_gone:
                    await connection.execute(_GONE, {"id": row.id})
                else:
                    await connection.execute(_LATER, {"id": row.id, "seconds": AGAIN_SECONDS})
            gone += is_gone
        return gone

    async def _is_gone(self, row: Row) -> bool:
        """Raises Unavailable: nobody answers."""
        question = ForgetVoice(user_id=row.user_id, name=row.voice, voice_id=row.id)
        answer = await ask(
            self._broker, GENERATOR_FORGET_VOICE, question, ForgottenVoice, FORGET_SECONDS, "not forgotten"
        )
        return answer.is_gone

    async def _run(self) -> None:
        while True:
            self._woken.clear()
            try:
                if await self.round() == ROWS:
                    continue
            except Exception as error:
                log.warning("voices.not_forgotten", error=f"{type(error).__name__}: {error}"[:300])
            try:
                async with asyncio.timeout(EVERY_SECONDS):
                    await self._woken.wait()
            except TimeoutError:
                continue
