"""Stripe through its official SDK, over our guarded session. It never tries twice: retrying has one owner."""

from collections.abc import Mapping
from typing import Any, NoReturn

import aiohttp
import stripe
import structlog
from stripe import AIOHTTPClient, StripeClient
from yarl import URL

from ledger.domain.payments import Payment
from ledger.payments.events import EVENT_TYPES
from ledger.settings import PaymentSettings
from runtime.outbound import OutboundSettings, Refused, make_session

CALL_TIMEOUT_SECONDS = 10.0
CONNECT_TIMEOUT_SECONDS = 5.0
MAX_ANSWER_BYTES = 8 << 20
EVENTS_PER_PAGE = 100
"""The most that Stripe gives at once."""
TEST_CARD = "pm_card_visa"
RETURN_URL = "https://example.com/"
"""Asked for since an intent takes more than cards; this card leads nowhere."""

log = structlog.get_logger()


class SilentError(Exception):
    """Stripe did not answer, or not now. Whether it did anything is unknown; asking again is harmless."""


class RefusedError(Exception):
    """Stripe said no: asking the same again is useless."""


class GuardedClient(AIOHTTPClient):
    """The SDK's own transport with bounds on bytes and seconds, and without redirects: a key goes where it was sent."""

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT_SECONDS, sock_connect=CONNECT_TIMEOUT_SECONDS)
        try:
            async with self._session.request(
                method, url, headers=headers, data=post_data, allow_redirects=False, timeout=timeout
            ) as response:
                return await self._read(response), response.status, response.headers
        except (aiohttp.ClientError, Refused, OSError, TimeoutError, ValueError) as error:
            # ValueError: what aiohttp's parser says of some malformed answers
            self._handle_request_error(error)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise ValueError(f"an answer of more than {MAX_ANSWER_BYTES} bytes")
        return bytes(body)


class Provider:
    """One process's calls to Stripe. Objects come back as plain dictionaries."""

    def __init__(self, settings: PaymentSettings, key: str) -> None:
        self._settings = settings
        self._key = key
        self._session: aiohttp.ClientSession | None = None
        self._sdk: StripeClient | None = None

    @property
    def is_live(self) -> bool:
        """Whether the key moves real money; what happened in the other mode is none of ours."""
        return "_live_" in self._key

    @property
    def is_test(self) -> bool:
        """Whether the key is of Stripe's test mode, as it says itself."""
        return "_test_" in self._key

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def create(self, payment: Payment) -> dict[str, Any]:
        """The intent of a payment: a new one, or the same again, by the key that follows from the payment's id.

        Raises:
            SilentError, RefusedError
        """
        try:
            intent = await self._open().v1.payment_intents.create_async(
                {
                    "amount": payment.price,
                    "currency": payment.currency,
                    "automatic_payment_methods": {"enabled": True},
                    "metadata": {"payment_id": str(payment.id), "user_id": str(payment.user_id)},
                },
                {"idempotency_key": f"darkroom-payment-{payment.id}"},
            )
        except stripe.StripeError as error:
            _raise(error)
        return intent.to_dict()

    async def retrieve(self, payment_intent: str) -> dict[str, Any]:
        """Raises SilentError, RefusedError (also where there is none)."""
        try:
            return (await self._open().v1.payment_intents.retrieve_async(payment_intent)).to_dict()
        except stripe.StripeError as error:
            _raise(error)

    async def pay_with_test_card(self, payment_intent: str) -> None:
        """Confirms an intent with Stripe's own test card; one that was paid meanwhile stays paid.

        Raises:
            SilentError, RefusedError: also in live mode, where there is no such card.
        """
        card: Any = {"payment_method": TEST_CARD, "return_url": RETURN_URL}
        try:
            await self._open().v1.payment_intents.confirm_async(payment_intent, card)
        except stripe.StripeError as error:
            _raise(error)

    async def events(self, since: int, after: str | None) -> tuple[list[dict[str, Any]], bool]:
        """A page of events since a time (unix seconds), newest first, and whether there are more after its last.

        Raises:
            SilentError, RefusedError
        """
        asked: Any = {"types": list(EVENT_TYPES), "created": {"gte": since}, "limit": EVENTS_PER_PAGE}
        if after is not None:
            asked["starting_after"] = after
        try:
            page = await self._open().v1.events.list_async(asked)
        except stripe.StripeError as error:
            _raise(error)
        return [event.to_dict() for event in page.data], page.has_more

    def _open(self) -> StripeClient:
        """The session belongs to the event loop, which runs only once the process serves."""
        if self._sdk is None:
            address = URL(self._settings.stripe_base_url)
            # The operator named this one address, wherever it is; nothing leads from it to another.
            self._session = make_session(OutboundSettings(outbound_allow=f"{address.host}:{address.port}"))
            stripe.enable_telemetry = False
            self._sdk = StripeClient(
                self._key,
                base_addresses={"api": self._settings.stripe_base_url.rstrip("/")},
                http_client=GuardedClient(session=self._session),
                max_network_retries=0,
            )
        return self._sdk


def _raise(error: stripe.StripeError) -> NoReturn:
    """What matters about it, in words without keys; Stripe's own messages repeat what it was sent."""
    words = f"{type(error).__name__} {error.http_status or ''} {error.code or ''}".strip()
    status = error.http_status or 0
    if isinstance(error, stripe.APIConnectionError | stripe.APIError) or status in {409, 429} or status >= 500:
        raise SilentError(words) from error
    log.error("stripe.refused", error=words, request_id=error.request_id)
    raise RefusedError(words) from error
