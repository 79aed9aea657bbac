"""Users' own keys at providers: handed on to the generator, which encrypts them and never says them again."""

from faststream.nats import NatsBroker

from contracts.questions import GENERATOR_KEYS, GENERATOR_SET_KEY, Keys, KeysOf, SetKey
from gateway.identity import Caller
from gateway.questions import ask
from gateway.refusals import Invalid, NotConfigured

ANSWER_TIMEOUT_SECONDS = 2.0


class ProviderKeys:
    """What a user has set: the last four characters of each, and when."""

    def __init__(self, broker: NatsBroker) -> None:
        self._broker = broker

    async def all(self, caller: Caller) -> Keys:
        """Raises Unavailable."""
        return await self._ask(GENERATOR_KEYS, KeysOf(user_id=caller.user_id))

    async def set(self, caller: Caller, provider: str, key: str | None) -> Keys:
        """Sets the key for one provider, or forgets it where none is given.

        Raises ScopeMissing, Invalid, NotConfigured, Unavailable.
        """
        caller.may_manage()
        if key is not None and not (key.isascii() and key.isprintable()):
            message = "only printable ASCII characters: it is sent in a header"
            raise Invalid(f"key: {message}", details={"errors": [{"field": "key", "message": message}]})
        keys = await self._ask(GENERATOR_SET_KEY, SetKey(user_id=caller.user_id, provider=provider, key=key))
        if not keys.is_offered:
            raise NotConfigured("Keys of users are not set up here: the operator has to set GENERATOR_KEY_SECRETS.")
        return keys

    async def _ask(self, subject: str, question: KeysOf | SetKey) -> Keys:
        silence = "The generator does not answer right now."
        return await ask(self._broker, subject, question, Keys, ANSWER_TIMEOUT_SECONDS, silence)
