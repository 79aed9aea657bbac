"""What the ledger does: hold, settle, correct, grant, and say how much there is.

Every operation opens its transaction itself, can be repeated, and returns the facts that are to be said once it is
committed.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from contracts.facts import Change, Funded, Grant, Granted, Outcome, Request, Requested
from contracts.ids import event_id
from contracts.money import Balance, in_credits
from contracts.questions import ConsumeCredits, Consumption, GrantCredits, Plan, PlanSet, SetPlan
from ledger import accounts, consumptions, debts, figures, holds, plans
from ledger.answers import SOURCE, answers
from ledger.domain import transactions
from ledger.domain.holds import (
    DAILY_CAP,
    INSUFFICIENT_CREDITS,
    Closings,
    Openings,
    State,
    decide_closings,
    decide_correction,
    decide_openings,
    once,
)
from ledger.holds import Said
from runtime.database import Connection, Database, Row, Together

MAX_GRANT_UNITS = 10**16
"""A million million credits: a thousandth of what an account can count."""
MAX_HOLDS_LOOKED_UP = 100
"""How many of a user's open holds a question settles before it is answered."""

log = structlog.get_logger()

# OFFSET keeps the order apart from the search: for its sake everybody's open holds would be read, oldest first.
_BALANCE = text(f"""
    SELECT asked.user_id, accounts.available, accounts.held, accounts.used, accounts.debt, accounts.changed_at,
           {plans.COLUMNS}, accounts.user_id IS NOT NULL AND {accounts.MONTH_IS_DUE} AS due,
           ARRAY(SELECT generation_id
                 FROM (SELECT * FROM holds WHERE holds.user_id = asked.user_id AND state = 'open' OFFSET 0) AS theirs
                 ORDER BY opened_at LIMIT :most) AS open,
           coalesce((SELECT sum(amount - taken) FROM consumptions
                     WHERE consumptions.user_id = asked.user_id AND {consumptions.FRESH}), 0)::bigint AS consumed
    FROM unnest(CAST(:users AS uuid[])) AS asked (user_id) LEFT JOIN accounts USING (user_id)
        JOIN plans ON plans.name = coalesce(accounts.plan, 'free')
""")  # noqa: S608 - put together from constants
_GRANTED = text("""
    SELECT user_id, amount, reason FROM transactions JOIN postings ON transaction_id = transactions.id
    WHERE key = :key AND purse = 'available'
""")


class StrangersError(Exception):
    """Some users have no account yet."""

    def __init__(self, users: Collection[UUID]) -> None:
        super().__init__(f"{len(users)} users without an account")
        self.users = users


class DueError(Exception):
    """Some users have not been given this month's credits yet."""

    def __init__(self, users: Collection[UUID]) -> None:
        super().__init__(f"{len(users)} users with a month to be granted")
        self.users = users


class GrantedOtherwiseError(ValueError):
    """The grant's id was used for something else. The message is for whoever asked."""


class OvertakenError(Exception):
    """Somebody else wrote a row between our looking and our writing: look again."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A user's money, the generations that hold some of it, and what else says whether one more can be paid."""

    balance: Balance
    open: list[UUID]
    consumed: int
    """Units that were consumed a moment ago."""
    plan: Plan
    left_today: int | None


def _nobody(_: Sequence[Change]) -> None:
    """Nobody wants to know."""


class Ledger:
    """The operations of one process on the ledger's tables. `starting_grant` is in units.

    `changed` is told the balances that an operation left, once they are committed.
    """

    def __init__(
        self, database: Database, starting_grant: int, changed: Callable[[Sequence[Change]], None] = _nobody
    ) -> None:
        self._database = database
        self._starting_grant = starting_grant
        self.changed = changed
        self._balance = Together(self._balances)

    # -- holds ------------------------------------------------------------------------------------------------

    async def hold(self, facts: Sequence[Requested]) -> list[Funded | Outcome]:
        """Sets quotes aside, in stream order; funded or declined for each id, or how it ended where it is closed."""
        requests = once(fact.data for fact in facts)
        # All that one account pays for is decided in stream order.
        paid_before = {request.account_id for request in requests if request.prepaid}
        opened = await self._hold_usual(
            [request for request in requests if request.quote.amount and request.account_id not in paid_before]
        )
        left = [request for request in requests if request.generation_id not in opened]
        openings, known = await self._hold_all(left) if left else (Openings(), {})
        openings.opened += [request for request in requests if request.generation_id in opened]
        log.info(
            "holds.opened",
            generation_id=_ids(openings.opened),
            declined=_ids(openings.declined),
            capped=_ids(openings.capped),
            repeated=_ids(openings.repeated),
            ended=_ids(openings.ended),
        )
        return answers(facts, openings, known)

    async def _hold_usual(self, requests: Sequence[Request]) -> set[UUID]:
        """The usual requests, in one round trip; the others are for `_hold_all`."""
        if not requests:
            return set()
        try:
            async with self._database.statement() as connection:
                opened, changes = await holds.open_usual(connection, requests)
        except IntegrityError:
            return set()
        self.changed(changes)
        return opened

    async def _hold_all(self, requests: Sequence[Request]) -> tuple[Openings, dict[UUID, Said]]:
        while True:
            try:
                return await self._hold(requests)
            except StrangersError as strangers:
                # In a transaction of its own: making accounts while others are locked could wait in a circle.
                async with self._database.transaction() as connection:
                    await accounts.open_accounts(connection, strangers.users, self._starting_grant)
            except DueError as due:
                await self._grant_month(due.users)

    async def _hold(self, requests: Sequence[Request]) -> tuple[Openings, dict[UUID, Said]]:
        unique = {request.generation_id: request for request in requests}
        async with self._database.transaction() as connection:
            claimed = await holds.claim(connection, unique.values())
            known = await holds.said(connection, unique.keys() - claimed) if len(claimed) < len(unique) else {}
            users = {unique[generation_id].account_id for generation_id in claimed}
            found = await accounts.lock(connection, users) if users else {}
            if strangers := users - found.keys():
                raise StrangersError(strangers)
            if due := {user_id for user_id, account in found.items() if account.is_due}:
                raise DueError(due)
            left_today = await self._left_today(connection, found, claimed)
            paying = {request.account_id for request in requests if request.prepaid} & users
            consumed = await consumptions.fresh(connection, paying) if paying else []
            openings = decide_openings(
                requests,
                {generation_id: said.state for generation_id, said in known.items()},
                {user_id: account.spendable for user_id, account in found.items()},
                left_today,
                accounts.by_user((each.user_id, each.left) for each in consumed),
            )
            for reason, declined in ((INSUFFICIENT_CREDITS, openings.declined), (DAILY_CAP, openings.capped)):
                if declined:
                    await holds.decline(connection, [request.generation_id for request in declined], reason)
            if openings.consumed:
                taken = accounts.by_user((unique[id_].account_id, units) for id_, units in openings.consumed.items())
                await consumptions.take(connection, consumed, taken)
            posted = await accounts.post(connection, openings.transactions())
        self.changed(posted.changes)
        return openings, known

    async def _left_today(
        self, connection: Connection, found: dict[UUID, accounts.Account], claimed: Collection[UUID]
    ) -> dict[UUID, int]:
        """What daily caps leave to those who have one: their accounts are locked, nobody takes more meanwhile."""
        caps = {id_: cap for id_, account in found.items() if (cap := account.daily_spend_cap) is not None}
        taken = await holds.taken_today(connection, caps, claimed) if caps else {}
        return {user_id: max(0, cap - taken.get(user_id, 0)) for user_id, cap in caps.items()}

    # -- outcomes ---------------------------------------------------------------------------------------------

    async def settle(self, outcomes: Sequence[Outcome]) -> None:
        """Closes ids, in stream order: captures what was delivered, releases the rest."""
        left = await self._settle_open(outcomes)
        while left:
            try:
                _log_closings(await self._settle(left))
            except OvertakenError:
                continue
            break

    async def _settle_open(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The usual outcomes, in two round trips: each ends a hold that is open. Returns the unusual ones.

        Nothing of a hold but its end ever changes, so what was decided without a lock holds for all that are open
        still when it is written.
        """
        async with self._database.statement() as connection:
            known = await holds.look(connection, (outcome.data.generation_id for outcome in outcomes))
            closings = decide_closings(outcomes, known)
            ending = [ended for ended in closings.closed if known[ended[0].generation_id].state is State.OPEN]
            done, changes = await holds.close_open(connection, ending, closings.transactions) if ending else (set(), ())
        self.changed(changes)
        unusual = {hold.generation_id for hold, _ in (*closings.new, *closings.closed)} - done | closings.disputed
        if done:
            _log_closings(Closings(closed=[ended for ended in ending if ended[0].generation_id in done]))
        return [outcome for outcome in outcomes if outcome.data.generation_id in unusual]

    async def _settle(self, outcomes: Sequence[Outcome]) -> Closings:
        async with self._database.transaction() as connection:
            known = await holds.lock(connection, (outcome.data.generation_id for outcome in outcomes))
            closings = decide_closings(outcomes, known)
            if closings.new and not await holds.insert_closed(connection, closings.new):
                raise OvertakenError
            if closings.closed:
                await holds.close(connection, closings.closed)
            if closings.disputed:
                await holds.dispute(connection, closings.disputed)
            posted = await accounts.post(connection, closings.transactions)
        self.changed(posted.changes)
        return closings

    async def correct(self, told: Sequence[Outcome], unknown: Sequence[UUID] = ()) -> None:
        """Makes good where a client was told otherwise than was applied; the ids are disputed no longer.

        Nobody was told anything about `unknown` ids: nothing is corrected.
        """
        by_id = {outcome.data.generation_id: outcome for outcome in told}
        async with self._database.transaction() as connection:
            found = await holds.lock(connection, by_id)
            made = [
                correction
                for generation_id, held in found.items()
                if (correction := decide_correction(held, by_id[generation_id])) is not None
                and await self._list(connection, correction, by_id[generation_id])
            ]
            await holds.settle_dispute(connection, [*by_id, *unknown])
            posted = await accounts.post(connection, made)
        self.changed(posted.changes)
        for correction in made:
            log.warning("hold.corrected", generation_id=str(correction.generation_id), type=correction.type)
            figures.CORRECTED.labels(correction.type).inc()
        for generation_id in unknown:
            log.warning("dispute.unknown", generation_id=str(generation_id))

    async def _list(self, connection: Connection, correction: transactions.Transaction, told: Outcome) -> bool:
        amount = max(units for _, units in correction.postings)
        return await holds.correct(connection, correction, amount, told)

    # -- balances ---------------------------------------------------------------------------------------------

    async def balance(self, user_id: UUID) -> tuple[Balance, list[UUID]]:
        """A user's money, and the generations that still hold some of it. A stranger has the starting grant."""
        standing = await self.standing(user_id)
        return standing.balance, standing.open

    async def standing(self, user_id: UUID) -> Standing:
        """The same and more. Whoever is due this month's credits is given them first."""
        row = await self._balance(user_id)
        if row.due or (row.available is None and row.monthly_grant):
            await self._grant_month([user_id])
            row = await self._balance(user_id)
        left_today = None
        if row.daily_spend_cap is not None:
            async with self._database.statement() as connection:
                taken = await holds.taken_today(connection, [user_id], [])
            left_today = max(0, row.daily_spend_cap - taken.get(user_id, 0))
        return Standing(self._balance_of(row), list(row.open), row.consumed, plans.plan_of(row), left_today)

    async def _balances(self, user_ids: Sequence[UUID]) -> list[Row]:
        async with self._database.statement() as connection:
            found = await connection.execute(_BALANCE, {"users": user_ids, "most": MAX_HOLDS_LOOKED_UP})
            rows = {row.user_id: row for row in found}
        return [rows[user_id] for user_id in user_ids]

    def _balance_of(self, row: Row) -> Balance:
        if row.available is None:
            return Balance(available=self._starting_grant, held=0, used=0)
        return Balance(
            available=row.available, held=row.held, used=row.used, debt=row.debt, last_updated=row.changed_at
        )

    async def meet(self, user_id: UUID) -> None:
        """Opens the account of whoever has none yet."""
        async with self._database.transaction() as connection:
            await self.open_account(connection, user_id)

    async def open_account(self, connection: Connection, user_id: UUID) -> None:
        """Makes the account of a user who has none yet, with what a new user is given."""
        await accounts.open_accounts(connection, [user_id], self._starting_grant)

    async def _grant_month(self, users: Collection[UUID]) -> None:
        async with self._database.transaction() as connection:
            await accounts.open_accounts(connection, users, self._starting_grant)
            posted = await plans.grant_month(connection, users)
            paid = await debts.pay_debts(connection, users)
        log.info("month.granted", users=len(users), new=posted.made)
        self.changed((*posted.changes, *paid))

    async def set_plan(self, asked: SetPlan) -> PlanSet:
        """Gives a user another plan; what it gives this month is given when it is first used."""
        async with self._database.transaction() as connection:
            await self.open_account(connection, asked.user_id)
            known = await plans.all_plans(connection)
            before = (await accounts.lock(connection, [asked.user_id]))[asked.user_id].plan
            if asked.plan not in known:
                return PlanSet(plan=known[before], problem=f"There is no such plan. Known: {', '.join(sorted(known))}.")
            await plans.assign(connection, asked.user_id, asked.plan)
        log.info("plan.set", user_id=str(asked.user_id), plan=asked.plan, before=before)
        return PlanSet(plan=known[asked.plan])

    async def consume(self, asked: ConsumeCredits) -> Consumption:
        """Takes exactly so much, or nothing; once per id."""
        await self.standing(asked.user_id)  # gives what is due this month
        async with self._database.transaction() as connection:
            await self.open_account(connection, asked.user_id)
            available = (await accounts.lock(connection, [asked.user_id]))[asked.user_id].spendable
            known = await consumptions.recorded(connection, asked.consumption_id)
            if known is not None:
                state = "consumed" if known == (asked.user_id, asked.amount) else "mismatch"
                return Consumption(state=state, required=asked.amount, available=available)
            if asked.amount > available:
                return Consumption(state="insufficient_credits", required=asked.amount, available=available)
            await consumptions.record(connection, asked)
            taken = transactions.consume(asked.consumption_id, asked.user_id, asked.amount, asked.reason)
            posted = await accounts.post(connection, [taken])
        log.info("credits.consumed", user_id=str(asked.user_id), consumption_id=str(asked.consumption_id))
        self.changed(posted.changes)
        return Consumption(state="consumed", required=asked.amount, available=available - asked.amount)

    async def spend(self) -> int:
        """What was consumed and can pay for nothing any longer becomes ours; how many consumptions that ended."""
        async with self._database.transaction() as connection:
            number, posted = await consumptions.spend_old(connection)
        self.changed(posted.changes)
        return number

    async def grant(self, asked: GrantCredits) -> Granted:
        """Gives credits, once per grant id; what was given under that id, whoever asks again.

        Raises:
            ValueError: more than anybody is given.
            GrantedOtherwiseError
        """
        if asked.amount > MAX_GRANT_UNITS:
            raise ValueError(f"not an amount to give: {asked.amount}")
        given = transactions.grant(asked.grant_id, asked.user_id, asked.amount, asked.reason)
        async with self._database.transaction() as connection:
            await self.open_account(connection, asked.user_id)
            posted = await accounts.post(connection, [given], only_new=True)
            paid = await debts.pay_debts(connection, [asked.user_id])
            recorded = (await connection.execute(_GRANTED, {"key": given.key})).one()
        if (recorded.user_id, recorded.amount) != (asked.user_id, asked.amount):
            given_before = f"{in_credits(recorded.amount)} credits for {recorded.user_id}"
            raise GrantedOtherwiseError(f"The grant {asked.grant_id} was given otherwise: {given_before}.")
        log.info("credits.granted", user_id=str(asked.user_id), grant_id=str(asked.grant_id), new=bool(posted.made))
        self.changed((*posted.changes, *paid))
        return Granted(
            id=event_id("granted", SOURCE, asked.grant_id),
            source=SOURCE,
            subject=str(asked.user_id),
            time=datetime.now(UTC),
            data=Grant(user_id=recorded.user_id, amount=recorded.amount, reason=recorded.reason),
        )


def _log_closings(closings: Closings) -> None:
    figures.close([*closings.closed, *closings.new])
    log.info(
        "holds.closed",
        generation_id=[str(hold.generation_id) for hold, _ in closings.closed],
        unasked=[str(hold.generation_id) for hold, _ in closings.new],
        disputed=[str(generation_id) for generation_id in closings.disputed],
        captured_units=sum(hold.captured for hold, _ in closings.closed),
    )


def _ids(requests: Sequence[Request]) -> list[str]:
    return [str(request.generation_id) for request in requests]
