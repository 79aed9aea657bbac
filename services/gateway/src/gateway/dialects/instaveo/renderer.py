"""What the generator knows of a video's making: the provider's task, and the result of a renderer outside.

An outside renderer may finish a video: `POST /videos/{id}/complete`, signed as Standard Webhooks 1.0 says with the
operator's secret. The gateway cannot say `rendered`; it asks the generator to, and storage fetches the film as it
fetches from providers. What the log has decided before stays, so that the same callback may come again.
"""

import base64
import binascii
import hmac
import time
from hashlib import sha256
from typing import Literal, TypeVar
from uuid import UUID

from faststream.nats import NatsBroker
from pydantic import BaseModel, Field, SecretStr
from sqlalchemy import text
from starlette.datastructures import Headers

from contracts.facts import Failure, Verdict
from contracts.model import Frozen
from contracts.questions import GENERATOR_LOOK_AT_TASK, GENERATOR_TAKE_RESULT
from contracts.tasks import LookAtTask, LookedAtTask, TakenResult, TakeResult
from gateway.questions import ask
from gateway.records import COLUMNS, Generation, generation_of
from gateway.refusals import MalformedBody, NotConfigured, NotFinished, NotFound, SignatureRefused, Unavailable
from gateway.saying import end
from runtime.database import Database

TOLERANCE_SECONDS = 300
ANSWER_TIMEOUT_SECONDS = 5.0
_PREFIX = "whsec_"
_VERSION = "v1,"

Answer = TypeVar("Answer", bound=Frozen)
_GET = text(f"""
    SELECT {COLUMNS} FROM generations
    WHERE id = :id AND dialect = 'instaveo' AND deleted_at IS NULL
""")


class Finished(BaseModel):
    """The body of the callback."""

    status: Literal["completed", "failed"] = "completed"
    videoUrl: str = Field(default="", max_length=2000, pattern=r"^(https?://\S+)?$")  # noqa: N815
    failureReason: str = Field(default="The renderer failed.", min_length=1, max_length=500)  # noqa: N815


class Renderer:
    """Asks the generator, and believes a renderer that signs."""

    def __init__(self, database: Database, broker: NatsBroker, secret: SecretStr | None) -> None:
        self._database = database
        self._broker = broker
        self._secret = secret

    async def look(self, video_id: UUID, names: tuple[str, ...]) -> None:
        """Has the provider asked about the task that bears these names.

        Raises:
            NotFound: it is no task of this video. Unavailable: the generator does not answer.
        """
        question = LookAtTask(generation_id=video_id, names=names)
        if not (await self._ask(GENERATOR_LOOK_AT_TASK, question, LookedAtTask)).is_known:
            raise NotFound("The video is not made by this operation.")

    async def finish(self, video_id: UUID, headers: Headers, body: bytes) -> None:
        """Takes a renderer's word for the end of a video.

        Raises:
            NotConfigured: the operator knows no such renderer. SignatureRefused: it is somebody else.
            MalformedBody: it says nothing that is understood. NotFound: there is no such video.
            NotFinished: it is not being made yet. Unavailable: the bus is away; send it again.
        """
        if self._secret is None:
            raise NotConfigured("No outside renderer is set up here: the operator has to set VIDEO_CALLBACK_SECRET.")
        _check(self._secret, headers, body)
        try:
            said = Finished.model_validate_json(body)
            if said.status == "completed" and not said.videoUrl:
                raise ValueError("videoUrl is missing")
        except ValueError as error:
            raise MalformedBody("The body needs a status, and a videoUrl where it is completed.") from error
        generation = await self._generation(video_id)
        if generation.is_final:
            return
        if said.status == "failed":
            failure = Failure(code="provider_error", message=said.failureReason)
            outcome = await end(self._broker, generation, Verdict.FAILED, failure=failure)
            if outcome is None:
                raise Unavailable("The end of the video cannot be recorded right now; send it again.")
            return
        question = TakeResult(generation_id=video_id, url=said.videoUrl)
        if (await self._ask(GENERATOR_TAKE_RESULT, question, TakenResult)).state == "unknown":
            raise NotFinished("The video is not being made yet; send it again in a moment.")

    async def _generation(self, video_id: UUID) -> Generation:
        async with self._database.statement() as connection:
            row = (await connection.execute(_GET, {"id": video_id})).one_or_none()
        if row is None:
            raise NotFound("There is no such video.")
        return generation_of(row)

    async def _ask(self, subject: str, question: Frozen, answer: type[Answer]) -> Answer:
        silence = "The generator does not answer right now; try again."
        return await ask(self._broker, subject, question, answer, ANSWER_TIMEOUT_SECONDS, silence)


def _check(secret: SecretStr, headers: Headers, body: bytes) -> None:
    """Raises SignatureRefused."""
    message_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12 or not message_id.isascii():
        raise SignatureRefused("The callback has to be signed as Standard Webhooks says.")
    if abs(time.time() - int(timestamp)) > TOLERANCE_SECONDS:
        raise SignatureRefused("The signature is too old, or its clock is wrong.")
    expected = hmac.digest(_key(secret), f"{message_id}.{timestamp}.".encode() + body, sha256)
    given = [
        each[len(_VERSION) :] for each in headers.get("webhook-signature", "").split() if each.startswith(_VERSION)
    ]
    if not any(hmac.compare_digest(expected, _decoded(each)) for each in given):
        raise SignatureRefused("The signature does not fit the callback.")


def _key(secret: SecretStr) -> bytes:
    """The bytes behind `whsec_…`; any other text as it is."""
    said = secret.get_secret_value()
    return _decoded(said.removeprefix(_PREFIX)) if said.startswith(_PREFIX) else said.encode()


def _decoded(signature: str) -> bytes:
    try:
        return base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        return b""
