"""`/stripe/v1/*` as Stripe's API, and `/__sim/stripe/*` as a test steers it.

Each secret key is an account of its own. What was executed under an Idempotency-Key is answered again as it was.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from simulator.clock import Clock
from simulator.faults import Faults, Wish
from simulator.fields import InvalidFieldError
from simulator.refusals import bad_gateway_page, retry_headers
from simulator.stripe.account import API_VERSION, MOST, Account, Record
from simulator.stripe.deliveries import Deliveries, UnknownDeliveryError
from simulator.stripe.forms import Form, read_form
from simulator.stripe.listing import LISTED, listing
from simulator.stripe.refusals import INVALID, StripeRefusal, invalid_field, missing, of_fault
from simulator.wire import hold, reset_connection, send_partly

MAX_KEY_CHARACTERS = 255
KEY_LIFETIME_SECONDS = 24 * 3600
_KEY = re.compile(r"[sr]k_(test|live)_\w{3,}")

Perform = Callable[[Account, Form, str], Record]


@dataclass(slots=True)
class Remembered:
    """What was executed under an Idempotency-Key; no answer while it still runs."""

    asked: str
    at: float
    status: int = 0
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Operation:
    """A route: the parameters that it takes, and what it does with them."""

    known: frozenset[str]
    perform: Perform


class Stripe:
    def __init__(self, clock: Clock, faults: Faults) -> None:
        self._clock, self._faults = clock, faults
        self.deliveries = Deliveries(clock)
        self._accounts: dict[str, Account] = {}
        self._remembered: dict[tuple[str, str], Remembered] = {}

    def routes(self) -> list[web.RouteDef]:
        api = [
            web.route(method, f"/stripe/v1/{path}", self._handler(operation))
            for (method, path), operation in _OPERATIONS.items()
        ]
        return [
            *api,
            web.put("/__sim/stripe/deliveries", self._wish),
            web.get("/__sim/stripe/deliveries", self._made),
            web.post("/__sim/stripe/release", self._release),
            web.post("/__sim/stripe/events/{id}", self._again),
            web.route("*", "/stripe/{path:.*}", self._unknown),
        ]

    def reset(self) -> None:
        self._accounts.clear()
        self._remembered.clear()
        self.deliveries.reset()

    # -- one call -----------------------------------------------------------------------------------------------

    def _handler(self, operation: Operation) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            headers = {"Request-Id": f"req_{secrets.token_hex(7)}", "Stripe-Version": API_VERSION}
            try:
                return await self._serve(request, operation, headers)
            except InvalidFieldError as error:
                refusal = invalid_field(error)
            except StripeRefusal as found:
                refusal = found
            return web.json_response(refusal.body(), status=refusal.status, headers=headers)

        return handle

    async def _serve(self, request: web.Request, operation: Operation, headers: dict[str, str]) -> web.StreamResponse:
        key, account = self._account(request)
        plan = self._faults.plan("stripe", request.path, "")
        if plan.refusal is not None:
            return self._refused(plan.refusal, headers)
        if plan.latency_seconds:
            await asyncio.sleep(plan.latency_seconds)
        failure = plan.answer.fault.name if plan.answer else ""
        if failure == "hang":
            return await hold(request)
        text = await request.text() if request.method == "POST" else request.query_string
        identifier = request.match_info.get("id", "")
        form = Form(read_form(text), operation.known | {"expand"})
        status, body = self._once(request, key, text, headers, lambda: operation.perform(account, form, identifier))
        match failure:
            case "lost":
                return reset_connection(request)
            case "hang-paid":
                return await hold(request)
            case "reset":
                return await send_partly(request, body, headers)
        return web.Response(body=body, status=status, content_type="application/json", headers=headers)

    def _account(self, request: web.Request) -> tuple[str, Account]:
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise StripeRefusal(401, INVALID, None, "You did not provide an API key.")
        match = _KEY.fullmatch(key)
        if match is None:
            raise StripeRefusal(401, INVALID, None, f"Invalid API Key provided: {key[:7]}****")
        if key not in self._accounts:
            self._accounts[key] = Account(self._clock, livemode=match[1] == "live", said=self.deliveries.send)
        return key, self._accounts[key]

    def _refused(self, wish: Wish, headers: dict[str, str]) -> web.Response:
        if wish.fault.name == "502":
            return bad_gateway_page(headers)
        refusal = of_fault(wish.fault.name)
        headers |= retry_headers(wish, self._clock.now())
        return web.json_response(refusal.body(), status=refusal.status, headers=headers)

    def _once(
        self, request: web.Request, key: str, text: str, headers: dict[str, str], perform: Callable[[], Record]
    ) -> tuple[int, bytes]:
        """What was refused before it began is not remembered; what was begun is answered so for a day."""
        name = request.headers.get("Idempotency-Key", "") if request.method == "POST" else ""
        if len(name) > MAX_KEY_CHARACTERS:
            raise StripeRefusal(400, INVALID, None, f"Idempotency-Key is longer than {MAX_KEY_CHARACTERS}.")
        if not name:
            return _performed(perform)
        asked = hashlib.sha256(f"{request.path}?{text}".encode()).hexdigest()
        known = self._remembered.get((key, name))
        if known is not None and self._clock.now() - known.at < KEY_LIFETIME_SECONDS:
            if known.asked != asked:
                words = (
                    "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                    f"Try using a key other than '{name}' if you meant to execute a different request."
                )
                raise StripeRefusal(400, "idempotency_error", None, words)
            headers["Idempotent-Replayed"] = "true"
            return known.status, known.body
        status, body = _performed(perform)
        self._remembered[key, name] = Remembered(asked, self._clock.now(), status, body)
        return status, body

    async def _unknown(self, request: web.Request) -> web.Response:
        words = f"Unrecognized request URL ({request.method}: {request.path.removeprefix('/stripe')})."
        return web.json_response(StripeRefusal(404, INVALID, None, words).body(), status=404)

    # -- steering -----------------------------------------------------------------------------------------------

    async def _wish(self, request: web.Request) -> web.Response:
        """`{"outcomes": ["lost", "twice", …]}` for the next events."""
        outcomes = (await request.json()).get("outcomes")
        try:
            if not isinstance(outcomes, list) or not all(isinstance(one, str) for one in outcomes):
                raise UnknownDeliveryError("outcomes must be a list of words")
            self.deliveries.wish(outcomes)
        except UnknownDeliveryError as error:
            raise web.HTTPBadRequest(text=str(error)) from None
        return web.json_response({"queued": len(outcomes)})

    async def _made(self, _: web.Request) -> web.Response:
        return web.json_response({"under_way": self.deliveries.under_way, "made": list(self.deliveries.made)})

    async def _release(self, _: web.Request) -> web.Response:
        return web.json_response({"released": await self.deliveries.release()})

    async def _again(self, request: web.Request) -> web.Response:
        """Delivers an event once more now, `?as=old` and the like; answers the endpoints' statuses."""
        for account in self._accounts.values():
            if (event := account.events.get(request.match_info["id"])) is not None:
                statuses = await self.deliveries.again(account, event, request.query.get("as", "ok"))
                return web.json_response({"statuses": statuses})
        raise web.HTTPNotFound(text="no such event")


def _performed(perform: Callable[[], Record]) -> tuple[int, bytes]:
    """An executed call that fails, as one with a declined card, has an answer of its own."""
    try:
        return 200, json.dumps(perform()).encode()
    except StripeRefusal as refusal:
        if refusal.status != 402:
            raise
        return refusal.status, json.dumps(refusal.body()).encode()


# -- what each route does ---------------------------------------------------------------------------------------


def _create_intent(account: Account, form: Form, _: str) -> Record:
    for name in ("amount", "currency"):
        form.required_text(name, 20)
    methods = form.form("automatic_payment_methods", {"enabled", "allow_redirects"})
    automatic = {
        "enabled": methods.flag("enabled", default=True),
        "allow_redirects": methods.choice("allow_redirects", ("always", "never"), "always"),
    }
    return account.create_intent(
        form.whole("amount", -(10**18), 10**18, 0),
        form.text("currency", ""),
        form.metadata(),
        automatic_payment_methods=automatic,
        description=form.text("description", "") or None,
        receipt_email=form.text("receipt_email", "") or None,
    )


def _intent(account: Account, _: Form, identifier: str) -> Record:
    return account.found(account.intents, "payment_intent", identifier)


def _confirm(account: Account, form: Form, identifier: str) -> Record:
    intent = _intent(account, form, identifier)
    return account.confirm(intent, form.required_text("payment_method", 100), has_return_url=form.has("return_url"))


def _cancel(account: Account, form: Form, identifier: str) -> Record:
    return account.cancel(_intent(account, form, identifier))


def _refund(account: Account, form: Form, _: str) -> Record:
    if form.has("payment_intent"):
        charge_id = _intent(account, form, form.text("payment_intent", ""))["latest_charge"] or ""
    else:
        charge_id = form.required_text("charge", 100)
    if charge_id not in account.charges:
        raise missing("charge", charge_id)
    amount = form.whole("amount", -MOST, MOST, 0) if form.has("amount") else None
    return account.refund(account.charges[charge_id], amount, form.metadata())


def _refund_found(account: Account, _: Form, identifier: str) -> Record:
    return account.found(account.refunds, "refund", identifier)


def _charge(account: Account, _: Form, identifier: str) -> Record:
    return account.found(account.charges, "charge", identifier)


def _dispute(account: Account, _: Form, identifier: str) -> Record:
    return account.found(account.disputes, "dispute", identifier)


def _answer_dispute(account: Account, form: Form, identifier: str) -> Record:
    evidence = form.form("evidence", {"uncategorized_text"}).text("uncategorized_text", "")
    return account.answer_dispute(
        _dispute(account, form, identifier), evidence, submit=form.flag("submit", default=True)
    )


def _close_dispute(account: Account, form: Form, identifier: str) -> Record:
    return account.close_dispute(_dispute(account, form, identifier))


def _event(account: Account, _: Form, identifier: str) -> Record:
    return account.found(account.events, "event", identifier)


def _add_endpoint(account: Account, form: Form, _: str) -> Record:
    return account.add_endpoint(form.required_text("url", 5_000), form.texts("enabled_events") or ["*"])


def _remove_endpoint(account: Account, _: Form, identifier: str) -> Record:
    account.found(account.endpoints, "webhook_endpoint", identifier)
    del account.endpoints[identifier]
    return {"id": identifier, "object": "webhook_endpoint", "deleted": True}


_NEW_INTENT = frozenset({"amount", "currency", "metadata", "automatic_payment_methods", "description", "receipt_email"})
_OPERATIONS: dict[tuple[str, str], Operation] = {
    ("POST", "payment_intents"): Operation(_NEW_INTENT, _create_intent),
    ("GET", "payment_intents"): Operation(LISTED, listing("payment_intents", "intents")),
    ("GET", "payment_intents/{id}"): Operation(frozenset(), _intent),
    ("POST", "payment_intents/{id}/confirm"): Operation(frozenset({"payment_method", "return_url"}), _confirm),
    ("POST", "payment_intents/{id}/cancel"): Operation(frozenset({"cancellation_reason"}), _cancel),
    ("GET", "charges/{id}"): Operation(frozenset(), _charge),
    ("POST", "refunds"): Operation(frozenset({"payment_intent", "charge", "amount", "reason", "metadata"}), _refund),
    ("GET", "refunds"): Operation(LISTED, listing("refunds")),
    ("GET", "refunds/{id}"): Operation(frozenset(), _refund_found),
    ("GET", "disputes"): Operation(LISTED, listing("disputes")),
    ("GET", "disputes/{id}"): Operation(frozenset(), _dispute),
    ("POST", "disputes/{id}"): Operation(frozenset({"evidence", "submit", "metadata"}), _answer_dispute),
    ("POST", "disputes/{id}/close"): Operation(frozenset(), _close_dispute),
    ("GET", "events"): Operation(LISTED | {"type", "types"}, listing("events")),
    ("GET", "events/{id}"): Operation(frozenset(), _event),
    ("POST", "webhook_endpoints"): Operation(frozenset({"url", "enabled_events"}), _add_endpoint),
    ("DELETE", "webhook_endpoints/{id}"): Operation(frozenset(), _remove_endpoint),
}
