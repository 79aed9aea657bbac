"""What can be done: create a generation, cancel one. Dialects translate into these and out again."""

import asyncio
import contextlib
import json
import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog
from faststream.nats import NatsBroker
from nats.errors import Error as NatsError
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from contracts.facts import CONTENT_TYPE, Ending, Lane, Outcome, Requested, Verdict
from contracts.ids import keyed_generation_id, new_generation_id
from contracts.money import Quote
from contracts.questions import CatalogModel, ConsumeCredits, Consumption, Plan
from contracts.topology import outcome_subject, requested_subject
from gateway import records
from gateway.funds import Funds
from gateway.identity import Caller
from gateway.notices import notify
from gateway.offers import Offers
from gateway.orders import Order, fit
from gateway.records import Generation
from gateway.refusals import (
    IdempotencyMismatch,
    Invalid,
    InvalidKey,
    NotFound,
    TooManyRequests,
)
from gateway.settings import LimitSettings, SweeperSettings
from gateway.waiting import Verdicts
from runtime import telemetry
from runtime.broker import connected, publish, publish_unique
from runtime.database import Database
from runtime.health import is_transient

REQUESTED_TIMEOUT_SECONDS = 1.0
CANCEL_SECONDS = 5.0
"""How long a client waits for the log; later the wish is carried out without it."""
MAX_KEY_CHARACTERS = 255
MAX_USERS_LIMITED = 100_000
SOURCE = "gateway"

log = structlog.get_logger()


class Commands:
    """The commands and what they need."""

    def __init__(
        self,
        database: Database,
        broker: NatsBroker,
        offers: Offers,
        limits: LimitSettings,
        sweeper: SweeperSettings,
    ) -> None:
        self._database = database
        self._broker = broker
        self._offers = offers
        self._limits = limits
        self._sweeper = sweeper
        self._pace = Pace(limits.requests_per_minute)
        self._funds = Funds(broker)

    async def create(self, caller: Caller, order: Order, generation_id: UUID | None = None) -> Generation:
        """Accepts a generation: its row is committed, then it is published. The same key gives the same generation.

        Raises:
            Invalid, UnknownModel, InvalidKey, InsufficientCredits, DailyCapReached, IdempotencyMismatch,
                TooManyRequests, Unavailable: nothing has changed.
        """
        generation_id = generation_id or _keyed_id(caller, order.route, order.idempotency_key)
        if order.idempotency_key is not None:
            existing = await self._existing(caller, generation_id, order)
            if existing is not None:
                return existing
        model = self._offers.model(order.kind, order.model)
        fitted = fit(order, model)
        quote = self._offers.quote(model, fitted)
        self._pace.admit(caller.user_id)
        await self._funds.check(caller.user_id, quote, prepaid=order.prepaid)
        plan = await self._funds.plan(caller.user_id)
        if plan.max_count is not None and order.count > plan.max_count:
            errors = [{"field": "count", "message": f"at most {plan.max_count}"}]
            raise Invalid(f"Your plan allows at most {plan.max_count} at once.", details={"errors": errors})
        self._pace.cool(caller.user_id, plan.cooldown_seconds or 0)
        generation = await self._record(caller, order, fitted, model, quote, generation_id, plan)
        if generation is None:
            existing = await self._existing(caller, generation_id, order)
            if existing is None:
                raise NotFound("There is no such generation.")
            return existing
        log.info(
            "generation.accepted",
            generation_id=str(generation.id),
            trace_id=telemetry.trace_id(order),
            model=model.id,
            published=generation.published,
        )
        if generation.published:
            await self.drive(generation)  # raises nothing: what is recorded is accepted
        return generation

    async def create_and_wait(self, verdicts: Verdicts, caller: Caller, order: Order) -> Generation:
        """The same, held open until the generation is final or the wait is over.

        It listens before it publishes, so that no outcome passes unheard.
        """
        generation_id = _keyed_id(caller, order.route, order.idempotency_key)
        async with verdicts.listening(generation_id) as heard:
            generation = await self.create(caller, order, generation_id)
            return await verdicts.wait(caller, generation, heard)

    async def drive(self, generation: Generation) -> bool:
        """Publishes `requested` (again). False when the bus did not take it: the sweeper will try again.

        What cannot be published at all counts as driven, so that its deadline ends it.
        """
        if not connected(self._broker):
            return False
        try:
            request = generation.request()
            fact = Requested.of(request, SOURCE, generation.traceparent)
            await publish(
                self._broker,
                requested_subject(request),
                fact.encode(),
                stream="GENERATION",
                content_type=CONTENT_TYPE,
                timeout_seconds=REQUESTED_TIMEOUT_SECONDS,
            )
        except (NatsError, TimeoutError, OSError) as error:
            log.warning("generation.not_published", generation_id=str(generation.id), error=type(error).__name__)
            return False
        except Exception as error:
            log.error("generation.not_driven", generation_id=str(generation.id), error=type(error).__name__)
        return True

    async def cancel(self, caller: Caller, generation_id: UUID) -> tuple[Generation, bool]:
        """Asks for the end of a generation. The wish is committed; whether it came in time is decided by the log.

        Returns the generation and whether it is, or will be, cancelled. It is not where another outcome was first.

        Raises:
            NotFound: no such generation of this user.
        """
        async with self._database.statement() as connection:
            asked = await records.ask_cancel(connection, caller.user_id, generation_id)
            generation = asked or await records.get(connection, caller.user_id, generation_id)
        if generation is None:
            raise NotFound("There is no such generation.")
        if asked is None:
            return generation, generation.status == Verdict.CANCELLED
        outcome = None
        if connected(self._broker):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CANCEL_SECONDS):
                    outcome = await self.end(generation, Verdict.CANCELLED)
        if outcome is None:
            return generation, True
        is_cancelled = outcome.data.verdict is Verdict.CANCELLED
        try:
            async with self._database.statement() as connection:
                finished = await records.finish(connection, [outcome])
                final = finished.get(generation_id) or await records.get(connection, caller.user_id, generation_id)
        except Exception as error:
            if is_cancelled and is_transient(error):
                return generation, True  # it is, and the consumer of outcomes writes it down
            raise
        return final or generation, is_cancelled

    async def end(self, generation: Generation, verdict: Verdict, **ending: Any) -> Outcome | None:
        """Says the last word and returns the one that the log accepted; None when the log does not tell."""
        outcome = Outcome.of(
            Ending(generation_id=generation.id, verdict=verdict, **ending), SOURCE, generation.traceparent
        )
        try:
            kept = await publish_unique(
                self._broker,
                outcome_subject(generation.id),
                outcome.encode(),
                stream="OUTCOMES",
                content_type=CONTENT_TYPE,
            )
            return Outcome.decode(kept)
        except (NatsError, TimeoutError, OSError, ValidationError) as error:
            log.warning("outcome.not_published", generation_id=str(generation.id), error=type(error).__name__)
            return None

    async def consume(self, caller: Caller, amount: int, reason: str, route: str, key: str | None) -> Consumption:
        """Takes `amount` units without a generation; under the same key once.

        Raises:
            InvalidKey, InsufficientCredits, IdempotencyMismatch, Unavailable: as Funds.consume does.
        """
        consumption_id = _keyed_id(caller, route, key)
        asked = ConsumeCredits(consumption_id=consumption_id, user_id=caller.user_id, amount=amount, reason=reason)
        return await self._funds.consume(asked)

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Records outcomes, then tells the clients and lets the next ones in. Harmless when repeated."""
        async with self._database.statement() as connection:
            await records.finish(connection, outcomes)
            ended, waited_for = await records.ended(connection, [outcome.data.generation_id for outcome in outcomes])
        await asyncio.gather(*(notify(self._broker, generation) for generation in ended))
        await asyncio.gather(*(self.admit(user_id, lane) for user_id, lane in waited_for))

    async def admit(self, user_id: UUID, lane: Lane) -> None:
        """Lets a user's waiting generations into the slots that became free."""
        slots = slots_of(self._limits, lane, await self._funds.plan(user_id))
        async with self._database.transaction() as connection:
            admitted = await records.admit(connection, user_id, lane, slots, self._sweeper.first_drive_seconds)
        await asyncio.gather(*map(self.drive, admitted))

    async def _existing(self, caller: Caller, generation_id: UUID, order: Order) -> Generation | None:
        async with self._database.statement() as connection:
            existing = await records.get(connection, caller.user_id, generation_id)
        if existing is not None and existing.body_hash != order.body_hash():
            raise IdempotencyMismatch("This Idempotency-Key was used for another request.")
        return existing

    async def _record(
        self,
        caller: Caller,
        order: Order,
        fitted: Order,
        model: CatalogModel,
        quote: Quote,
        generation_id: UUID,
        plan: Plan,
    ) -> Generation | None:
        particulars = fitted.particulars
        values = {
            "id": generation_id,
            "user_id": caller.user_id,
            "dialect": order.dialect,
            "kind": order.kind.value,
            "lane": order.lane.value,
            "model": model.id,
            "prompt": order.prompt,
            "size": fitted.size,
            "count": order.count,
            "options": json.dumps(order.options),
            "particulars": json.dumps(particulars) if particulars else None,
            "quote_amount": quote.amount,
            "unit_price": quote.unit_price,
            "price_version": quote.price_version,
            "input_price": quote.tokens and quote.tokens.input,
            "output_price": quote.tokens and quote.tokens.output,
            "body_hash": order.body_hash(),
            "traceparent": order.traceparent,
            "deadline_seconds": model.deadline_seconds,
            "p99_seconds": model.p99_seconds,
            "first_drive_seconds": self._sweeper.first_drive_seconds,
            "slots": slots_of(self._limits, order.lane, plan),
            "max_waiting": self._limits.max_waiting,
        }
        try:
            return await self._insert(values)
        except DBAPIError as error:
            if not is_transient(error):
                raise
            # The connection was lost, and whether the row is there is unknown: the same id is recorded once.
            return await self._insert(values) or await self._existing(caller, generation_id, order)

    async def _insert(self, values: dict[str, Any]) -> Generation | None:
        try:
            async with self._database.statement() as connection:
                return await records.insert(connection, values)
        except records.QueueFull as error:
            raise TooManyRequests(
                f"You have {self._limits.max_waiting} generations waiting; let some finish first.", 30
            ) from error


def slots_of(limits: LimitSettings, lane: Lane, plan: Plan) -> int:
    """How many of a user's generations may be at work in a lane."""
    if plan.concurrent is not None:
        return plan.concurrent
    return limits.interactive_slots if lane is Lane.INTERACTIVE else limits.batch_slots


class Pace:
    """How fast one user may ask, in this process: a bucket of one minute's tokens, and a plan's pause."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._buckets: OrderedDict[UUID, tuple[float, float]] = OrderedDict()
        self._accepted_at: OrderedDict[UUID, float] = OrderedDict()

    def admit(self, user_id: UUID) -> None:
        """Raises TooManyRequests, with the whole seconds to wait."""
        now = time.monotonic()
        tokens, at = self._buckets.pop(user_id, (float(self._per_minute), now))
        tokens = min(self._per_minute, tokens + (now - at) * self._per_minute / 60)
        self._buckets[user_id] = (max(0.0, tokens - 1) if tokens >= 1 else tokens, now)
        if len(self._buckets) > MAX_USERS_LIMITED:
            self._buckets.popitem(last=False)
        if tokens < 1:
            wait_seconds = int((1 - tokens) * 60 / self._per_minute) + 1
            raise TooManyRequests(f"At most {self._per_minute} generations per minute.", wait_seconds)

    def cool(self, user_id: UUID, pause_seconds: int) -> None:
        """Lets one pass after a pause. Raises TooManyRequests, with the whole seconds to wait."""
        if not pause_seconds:
            return
        now = time.monotonic()
        wait_seconds = self._accepted_at.get(user_id, -math.inf) + pause_seconds - now
        if wait_seconds > 0:
            raise TooManyRequests(f"Your plan asks for {pause_seconds} s between two.", math.ceil(wait_seconds))
        self._accepted_at.pop(user_id, None)
        self._accepted_at[user_id] = now
        if len(self._accepted_at) > MAX_USERS_LIMITED:
            self._accepted_at.popitem(last=False)


def _keyed_id(caller: Caller, route: str, key: str | None) -> UUID:
    if key is None:
        return new_generation_id()
    key = key.strip().removeprefix('"').removesuffix('"')
    if not key or len(key) > MAX_KEY_CHARACTERS or not key.isascii() or not key.isprintable():
        raise InvalidKey(f"An Idempotency-Key has 1 to {MAX_KEY_CHARACTERS} printable ASCII characters.")
    return keyed_generation_id(caller.user_id, route, key)
