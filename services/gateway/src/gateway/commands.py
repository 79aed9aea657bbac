"""What can be done: create a generation, cancel one. Dialects translate into these and out again."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from faststream.nats import NatsBroker

from contracts.facts import Kind, Lane, Outcome, Verdict
from contracts.money import Quote
from contracts.questions import CatalogModel, ConsumeCredits, Consumption, Plan
from gateway import accepting, batches, figures, records, repeats, turns
from gateway.accepting import DELETED, existing, place
from gateway.api_keys.spending import TWIN_SECONDS, consumed, reserved
from gateway.batches import Batch
from gateway.funds import Funds
from gateway.identity import Caller
from gateway.inputs import Inputs
from gateway.notices import notify
from gateway.offers import Offers
from gateway.orders import Order, check_count, fit, generation_id_of, id_of
from gateway.rates import Rates
from gateway.records import Duplicate, Ended, Generation, QueueFull
from gateway.refusals import (
    AlreadyFinished,
    Gone,
    NotFinished,
    NotFound,
    NotHeard,
    Refusal,
    TooManyRequests,
)
from gateway.room import Room
from gateway.saying import Driving, cancel, drive
from gateway.settings import FundingSettings, LimitSettings, SweeperSettings
from gateway.waiting import Verdicts
from runtime import telemetry
from runtime.broker import connected
from runtime.database import Database
from runtime.health import is_transient

CANCEL_SECONDS = 5.0
"""How long a client waits for the log; later the wish is carried out without it."""
QUEUE_FULL_SECONDS = 30
"""When to ask again."""

log = structlog.get_logger()


class Commands:
    """The commands and what they need."""

    def __init__(
        self,
        database: Database,
        broker: NatsBroker,
        offers: Offers,
        inputs: Inputs,
        limits: LimitSettings,
        sweeper: SweeperSettings,
        funding: FundingSettings,
    ) -> None:
        self._database = database
        self._broker = broker
        self._offers = offers
        self._inputs = inputs
        self._limits = limits
        self._reuse = {"seconds": limits.reuse_seconds, "percent": limits.reuse_percent}
        self._sweeper = sweeper
        self._funding = funding
        self.rates = Rates(database, limits)
        self.funds = Funds(broker)
        self._room = Room(broker)
        self._driving = Driving(broker)
        self.repeats = repeats.Repeats()
        self.heard_by: list[Callable[[Sequence[Ended]], None]] = []
        """Who is told, in the process that records them, of generations that have ended: at least once."""
        self.show: Callable[[Generation], str | None] = lambda _: None
        """How a generation stands in the notification of its end (`Notice.shown`)."""

    async def create(self, caller: Caller, order: Order, generation_id: UUID | None = None) -> Generation:
        """Accepts a generation: its row is committed, then it is being published. The same key gives the same one.

        Raises:
            Invalid, InputNotFound, UnknownModel, InvalidKey, InsufficientCredits, DailyCapReached, QuotaExceeded,
                IdempotencyMismatch, TooManyRequests, Gone, Unavailable: nothing has changed.
            NotHeard: whether anything has is not known.
        """
        order = self._inputs.named(order)
        generation_id = generation_id or generation_id_of(caller, order)
        is_named = order.idempotency_key is not None
        if is_named and (known := await existing(self._database, caller, generation_id, order)):
            return known
        try:
            return await self._accept(caller, order, generation_id)
        except NotHeard:
            raise
        except (Duplicate, Refusal) as error:
            # What refuses this one may be the same request, accepted meanwhile, or in a moment.
            is_known = is_named or isinstance(error, Duplicate)
            if is_named and isinstance(error, TooManyRequests):
                await asyncio.sleep(TWIN_SECONDS)
            if is_known and (known := await existing(self._database, caller, generation_id, order)):
                return known
            if isinstance(error, Duplicate):
                raise Gone(DELETED) from error
            raise

    async def create_and_wait(
        self, verdicts: Verdicts, caller: Caller, order: Order, seconds: float | None = None
    ) -> Generation:
        """The same, held open until the generation is final or the wait is over: so many seconds, and accepting it is
        counted to them.

        It listens before it publishes, so that no outcome passes unheard. Raises TooManyRequests, too: the user waits
        for as many as anybody may. Gone: it was deleted meanwhile.
        """
        begun_at = time.monotonic()
        generation_id = generation_id_of(caller, order)
        with verdicts.place(caller.user_id):
            async with verdicts.listening(generation_id) as heard:
                generation = await self.create(caller, order, generation_id)
                left = None if seconds is None else seconds - (time.monotonic() - begun_at)
                return await verdicts.wait(caller, generation, heard, left)

    async def create_batch(self, caller: Caller, orders: Sequence[Order]) -> Batch:
        """Accepts all of them, or none. The same key gives the same batch.

        Raises:
            Invalid, InputNotFound, UnknownModel, InvalidKey, InsufficientCredits, DailyCapReached, QuotaExceeded,
                IdempotencyMismatch, TooManyRequests, Gone, Unavailable: nothing has changed.
            NotHeard: whether anything has is not known.
        """
        orders = [self._inputs.named(order) for order in orders]
        batch_id = batches.id_of(caller, orders[0])
        is_named = orders[0].idempotency_key is not None
        if is_named and (known := await batches.existing(self._database, caller, batch_id, orders)):
            return known
        try:
            return await self._accept_batch(caller, orders, batch_id)
        except NotHeard:
            raise
        except (Duplicate, Refusal) as error:
            is_known = is_named or isinstance(error, Duplicate)
            if is_named and isinstance(error, TooManyRequests):
                await asyncio.sleep(TWIN_SECONDS)
            if is_known and (known := await batches.existing(self._database, caller, batch_id, orders)):
                return known
            if isinstance(error, Duplicate):
                raise Gone(DELETED) from error
            raise

    async def retry(self, caller: Caller, generation_id: UUID, key: str | None, traceparent: str | None) -> Generation:
        """Asks again for what failed, was declined or cancelled, as a new generation at today's price.

        Raises:
            NotFound: it is not there, unless this key had it tried again before it was deleted. AlreadyFinished: it is
                not over, or was delivered. Whatever `create` raises.
        """
        async with self._database.statement() as connection:
            known = await records.known(connection, caller.user_id, generation_id)
        generation, is_deleted = known or (None, False)
        if generation is None or (is_deleted and key is None):
            raise NotFound("There is no such generation.")
        if not is_deleted and generation.status not in {Verdict.FAILED, Verdict.DECLINED, Verdict.CANCELLED}:
            raise AlreadyFinished(f"The generation is {generation.status}: there is nothing to be tried again.")
        order = await self.repeats.order(caller, generation, key, traceparent)
        if not is_deleted:
            return await self.create(caller, order)
        if made := await existing(self._database, caller, generation_id_of(caller, order), order):
            return made
        raise NotFound("There is no such generation.")

    async def delete(self, caller: Caller, generation_id: UUID) -> None:
        """Hides a generation for ever. Its id stays taken, so that its key is never another generation's.

        Raises:
            NotFound: no such generation of this user. NotFinished: cancel it first.
        """
        async with self._database.statement() as connection:
            if await records.delete(connection, caller.user_id, generation_id):
                return
            generation = await records.get(connection, caller.user_id, generation_id)
        if generation is None:
            raise NotFound("There is no such generation.")
        raise NotFinished("The generation is still at work: cancel it first.")

    async def cancel(self, caller: Caller, generation_id: UUID) -> tuple[Generation, bool]:
        """Asks for the end of a generation. The wish is committed; whether it came in time is decided by the log.

        Returns the generation and whether it is, or will be, ended by that: cancelled, or completed with what was read
        of a text by then. It is not where another outcome was first.

        Raises:
            NotFound: no such generation of this user.
        """
        async with self._database.statement() as connection:
            asked = await records.ask_cancel(connection, caller.user_id, generation_id)
            generation = asked or await records.get(connection, caller.user_id, generation_id)
        if generation is None:
            raise NotFound("There is no such generation.")
        if asked is None:
            return generation, generation.outcome is not None and _is_by_cancel(generation.outcome)
        outcome = None
        if connected(self._broker):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CANCEL_SECONDS):
                    outcome = await cancel(self._broker, generation)
        if outcome is None:
            return generation, True
        is_cancelled = _is_by_cancel(outcome)
        try:
            async with self._database.statement() as connection:
                await records.finish(connection, [outcome])
                final = await records.get(connection, caller.user_id, generation_id)
        except Exception as error:
            if is_cancelled and is_transient(error):
                return generation, True  # it is, and the consumer of outcomes writes it down
            raise
        return final or generation, is_cancelled

    async def consume(self, caller: Caller, amount: int, reason: str, route: str, key: str | None) -> Consumption:
        """Takes `amount` units without a generation; under the same key once.

        Raises:
            InvalidKey, InsufficientCredits, IdempotencyMismatch, Unavailable, NotHeard: as Funds.consume does.
            SpendCapReached, Unauthenticated: as the API key says.
        """
        consumption_id = id_of(caller, route, key)
        asked = ConsumeCredits(consumption_id=consumption_id, user_id=caller.user_id, amount=amount, reason=reason)
        counted_id = None if key is None else id_of(caller, route, key, amount)
        async with consumed(self._database, caller.key, amount, counted_id):
            return await self.funds.consume(asked)

    async def settle(self, outcomes: Sequence[Outcome], applied: Sequence[Ended] = ()) -> None:
        """Records outcomes, but for those that were `applied` already, then tells the clients and lets the next ones
        in. Harmless when repeated."""
        ended, known = list(applied), {each.id for each in applied}
        if new := [outcome for outcome in outcomes if outcome.data.generation_id not in known]:
            async with self._database.statement() as connection:
                ended += await records.settle(connection, new)
        await asyncio.gather(*(notify(self._broker, each, self._shown(each)) for each in ended))
        for hear in self.heard_by:
            hear(ended)
        figures.tell(outcomes)
        slots = {(each.user_id, each.lane) for each in ended if each.is_waited_for}
        await asyncio.gather(*(self.admit(user_id, lane) for user_id, lane in slots))

    def _shown(self, ended: Ended) -> str | None:
        return None if ended.generation is None else self.show(ended.generation)

    async def admit(self, user_id: UUID, lane: Lane) -> None:
        """Lets a user's waiting generations into the slots that became free."""
        slots = turns.slots_of(self._limits, lane, await self.funds.plan(user_id))
        async with self._database.transaction() as connection:
            admitted = await turns.admit(connection, user_id, lane, slots, self._sweeper.first_drive_seconds)
        await asyncio.gather(*(drive(self._broker, generation) for generation in admitted))

    async def _accept(self, caller: Caller, order: Order, generation_id: UUID) -> Generation:
        """Raises Duplicate, and whatever else `create` raises."""
        model = self._offers.model(order.kind, order.model)
        fitted = await self._inputs.find(caller, fit(order, model))
        quote = self._offers.quote(model, fitted)
        plan = await self._allow(caller, [order], quote.amount)
        async with self._counted(caller, plan, quote.amount) as counted_at:
            values = self._row(caller, order, fitted, model, quote, generation_id, plan, counted_at)
            generation = await accepting.once(
                partial(accepting.insert, self._database, values, order.beside),
                partial(existing, self._database, caller, generation_id, order),
                place(generation_id),
            )
        figures.ACCEPTED.labels(generation.kind, generation.lane).inc()
        log.info(
            "generation.accepted",
            generation_id=str(generation.id),
            trace_id=telemetry.trace_id(order),
            model=model.id,
            published=generation.published,
        )
        if generation.published:
            await self._driving.begin(generation)
        return generation

    async def _accept_batch(self, caller: Caller, orders: Sequence[Order], batch_id: UUID) -> Batch:
        """Raises Duplicate, and whatever else `create_batch` raises."""
        models = [self._offers.model(order.kind, order.model) for order in orders]
        fits = [fit(order, model) for order, model in zip(orders, models, strict=True)]
        fitted = await asyncio.gather(*(self._inputs.find(caller, each) for each in fits))
        quotes = [self._offers.quote(model, order) for order, model in zip(fitted, models, strict=True)]
        units = sum(quote.amount for quote in quotes)
        plan = await self._allow(caller, orders, units)
        async with self._counted(caller, plan, units) as counted_at:
            rows = [
                self._row(caller, *each, generation_id_of(caller, each[0], item), plan, counted_at)
                | {"batch_id": batch_id, "batch_item": item}
                for item, each in enumerate(zip(orders, fitted, models, quotes, strict=True))
            ]
            batch = await accepting.once(
                partial(batches.insert, self._database, batch_id, rows),
                partial(batches.existing, self._database, caller, batch_id, orders),
                batches.place(batch_id),
            )
        for generation in batch.generations:
            figures.ACCEPTED.labels(generation.kind, generation.lane).inc()
        await asyncio.gather(*(drive(self._broker, each) for each in batch.generations if each.published))
        log.info("batch.accepted", batch_id=str(batch_id), generations=len(batch.generations))
        return batch

    async def _allow(self, caller: Caller, orders: Sequence[Order], amount: int) -> Plan:
        """Lets one request pass, of one dialect's order or orders that cost `amount` units; the plan of who asks.

        Money and count are bounded by the account and the plan of whoever pays, pace and room by those of who asks.

        Raises:
            Invalid, InsufficientCredits, DailyCapReached, QuotaExceeded, TooManyRequests: as plan, money, room and pace
                say.
        """
        await self.rates.admit(caller.user_id)
        payer_id = self._funding.payer_of(orders[0].dialect)
        account_id = payer_id or caller.user_id
        await self.funds.check(
            account_id, amount, prepaid=any(order.prepaid for order in orders), is_own=payer_id is None
        )
        if any(order.kind is not Kind.TEXT for order in orders):
            await self._room.check(caller.user_id)
        check_count(await self.funds.plan(account_id), orders)
        return await self.funds.plan(caller.user_id)

    @contextlib.asynccontextmanager
    async def _counted(self, caller: Caller, plan: Plan, units: int) -> AsyncIterator[datetime | None]:
        """Counts what is accepted in the block, for the key and for the plan's pause; nothing where it raises. Yields
        the moment of which it is to be. Raises SpendCapReached, TooManyRequests, Unauthenticated."""
        pause_seconds = plan.cooldown_seconds or 0
        try:
            async with (
                reserved(self._database, caller.key, units) as spent,
                self.rates.cooling(caller.user_id, pause_seconds),
            ):
                yield spent.counted_at
        except QueueFull as error:
            message = f"You have {self._limits.max_waiting} generations waiting; let some finish first."
            raise TooManyRequests(message, QUEUE_FULL_SECONDS) from error

    def _row(
        self,
        caller: Caller,
        order: Order,
        fitted: Order,
        model: CatalogModel,
        quote: Quote,
        generation_id: UUID,
        plan: Plan,
        counted_at: datetime | None,
    ) -> dict[str, Any]:
        particulars = fitted.particulars
        if order.reuse:
            particulars |= {"reuse": self._reuse}
        return {
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
            "deadline_seconds": min(model.deadline_seconds, order.deadline_seconds or model.deadline_seconds),
            "p99_seconds": model.p99_seconds,
            "first_drive_seconds": self._sweeper.first_drive_seconds,
            "slots": turns.slots_of(self._limits, order.lane, plan),
            "max_waiting": self._limits.max_waiting,
            "api_key_id": caller.key.id if caller.key else None,
            "payer_id": self._funding.payer_of(order.dialect),
            "created_at": counted_at,
            "batch_id": None,
            "batch_item": None,
        }


def _is_by_cancel(outcome: Outcome) -> bool:
    return outcome.data.verdict is Verdict.CANCELLED or outcome.data.cut_by == "cancel"
