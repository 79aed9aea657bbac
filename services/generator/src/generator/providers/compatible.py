"""Any server that speaks OpenAI's dialect, at an address that the operator gives: LocalAI, vLLM, Ollama, a bridge.

Pictures, speech and texts. Addresses inside the operator's network are reached only where the allow-list of
`runtime.outbound` has them. Such a server has no place for pictures that storage could be sent to: bytes are asked for.
"""

from collections.abc import Sequence

import aiohttp

from contracts.facts import Kind
from generator.providers import openai_images, openai_speech, openai_text, sdk
from generator.providers.interface import Invalid, Item, Submission
from generator.providers.transport import MAX_ANSWER_BYTES

_NO_KEY = "none"
"""The SDK insists on one; a server that wants none ignores it."""


class Compatible:
    """One such server behind the generator's interface, by the operator's name for it."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        key: str,
        base_url: str,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        *,
        name: str = "compatible",
    ) -> None:
        self.name = name
        self._session = session
        self._client = sdk.make_client(session, key or _NO_KEY, base_url, max_answer_bytes)

    async def submit(self, submission: Submission) -> Sequence[Item]:
        match submission.kind:
            case Kind.IMAGE:
                return await openai_images.make(self._client, self._session, submission, "b64_json")
            case Kind.SPEECH:
                return await openai_speech.speak(self._client, submission)
            case Kind.TEXT:
                return await openai_text.write(self._client, submission, "max_tokens")
            case _:
                raise Invalid
