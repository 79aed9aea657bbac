"""What the ledger does: hold, settle, correct, grant, and say how much there is.

Every operation opens its transaction itself, can be repeated, and returns the facts that are to be said once it is
committed.
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from uuid import UUID

import structlog
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from contracts.facts import Ending, Failure, Funded, Grant, Granted, Outcome, Request, Requested, Verdict
from contracts.ids import event_id
from contracts.questions import Balance, GrantCredits
from ledger import accounts, debts, figures, holds
from ledger.domain import transactions
from ledger.domain.holds import (
    INSUFFICIENT_CREDITS,
    Closings,
    Openings,
    State,
    decide_closings,
    decide_correction,
    decide_openings,
)
from ledger.holds import Said
from runtime.database import Connection, Database, Row, Together

SOURCE = "ledger"
MAX_GRANT_UNITS = 10**16
"""A million million credits: a thousandth of what an account can count."""
MAX_HOLDS_LOOKED_UP = 100
"""How many of a user's open holds a question settles before it is answered."""

log = structlog.get_logger()

_BALANCE = text("""
    SELECT asked.user_id, accounts.available, accounts.held, accounts.used, accounts.debt,
           ARRAY(SELECT generation_id FROM holds WHERE holds.user_id = asked.user_id AND state = 'open'
                 ORDER BY opened_at LIMIT :most) AS open
    FROM unnest(CAST(:users AS uuid[])) AS asked (user_id) LEFT JOIN accounts USING (user_id)
""")
_GRANTED = text("""
    SELECT user_id, amount, reason FROM transactions JOIN postings ON transaction_id = transactions.id
    WHERE key = :key AND purse = 'available'
""")


class StrangersError(Exception):
    """Some users have no account yet."""

    def __init__(self, users: Collection[UUID]) -> None:
        super().__init__(f"{len(users)} users without an account")
        self.users = users


class OvertakenError(Exception):
    """Somebody else wrote a row between our looking and our writing: look again."""


class Ledger:
    """The operations of one process on the ledger's tables. `starting_grant` is in units."""

    def __init__(self, database: Database, starting_grant: int) -> None:
        self._database = database
        self._starting_grant = starting_grant
        self._balance = Together(self._balances)

    # -- holds ------------------------------------------------------------------------------------------------

    async def hold(self, facts: Sequence[Requested]) -> list[Funded | Outcome]:
        """Sets quotes aside, in stream order; funded or declined for each id, or how it ended where it is closed."""
        requests = _once(fact.data for fact in facts)
        opened = await self._hold_usual([request for request in requests if request.quote.amount])
        left = [request for request in requests if request.generation_id not in opened]
        openings, known = await self._hold_all(left) if left else (Openings(), {})
        openings.opened += [request for request in requests if request.generation_id in opened]
        log.info(
            "holds.opened",
            generation_id=_ids(openings.opened),
            declined=_ids(openings.declined),
            repeated=_ids(openings.repeated),
            ended=_ids(openings.ended),
        )
        return _answers(facts, openings, known)

    async def _hold_usual(self, requests: Sequence[Request]) -> set[UUID]:
        """The usual requests, in one round trip; the others are for `_hold_all`."""
        if not requests:
            return set()
        try:
            async with self._database.statement() as connection:
                return await holds.open_usual(connection, requests)
        except IntegrityError:
            return set()

    async def _hold_all(self, requests: Sequence[Request]) -> tuple[Openings, dict[UUID, Said]]:
        while True:
            try:
                return await self._hold(requests)
            except StrangersError as strangers:
                # In a transaction of its own: making accounts while others are locked could wait in a circle.
                async with self._database.transaction() as connection:
                    await accounts.open_accounts(connection, strangers.users, self._starting_grant)

    async def _hold(self, requests: Sequence[Request]) -> tuple[Openings, dict[UUID, Said]]:
        unique = {request.generation_id: request for request in requests}
        async with self._database.transaction() as connection:
            claimed = await holds.claim(connection, unique.values())
            known = await holds.said(connection, unique.keys() - claimed) if len(claimed) < len(unique) else {}
            users = {unique[generation_id].user_id for generation_id in claimed}
            available = await accounts.lock_balances(connection, users) if users else {}
            if strangers := users - available.keys():
                raise StrangersError(strangers)
            states = {generation_id: said.state for generation_id, said in known.items()}
            openings = decide_openings(requests, states, available)
            if openings.declined:
                await holds.decline(connection, [request.generation_id for request in openings.declined])
            await accounts.post(connection, openings.transactions())
        return openings, known

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
            done = await holds.close_open(connection, ending, closings.transactions) if ending else set()
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
            await accounts.post(connection, closings.transactions)
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
            await accounts.post(connection, made)
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
        return await self._balance(user_id)

    async def _balances(self, user_ids: Sequence[UUID]) -> list[tuple[Balance, list[UUID]]]:
        async with self._database.statement() as connection:
            found = await connection.execute(_BALANCE, {"users": user_ids, "most": MAX_HOLDS_LOOKED_UP})
            rows = {row.user_id: row for row in found}
        return [self._balance_of(rows[user_id]) for user_id in user_ids]

    def _balance_of(self, row: Row) -> tuple[Balance, list[UUID]]:
        if row.available is None:
            return Balance(available=self._starting_grant, held=0, used=0), []
        balance = Balance(available=row.available, held=row.held, used=row.used, debt=row.debt)
        return balance, list(row.open)

    async def open_account(self, connection: Connection, user_id: UUID) -> None:
        """Makes the account of a user who has none yet, with what a new user is given."""
        await accounts.open_accounts(connection, [user_id], self._starting_grant)

    async def grant(self, asked: GrantCredits) -> Granted:
        """Gives credits, once per grant id; what was given under that id, whoever asks again.

        Raises:
            ValueError: more than anybody is given, or the id was used for something else.
        """
        if asked.amount > MAX_GRANT_UNITS:
            raise ValueError(f"not an amount to give: {asked.amount}")
        given = transactions.grant(asked.grant_id, asked.user_id, asked.amount, asked.reason)
        async with self._database.transaction() as connection:
            await self.open_account(connection, asked.user_id)
            new = await accounts.post(connection, [given], only_new=True)
            await debts.pay_debts(connection, [asked.user_id])
            recorded = (await connection.execute(_GRANTED, {"key": given.key})).one()
        if (recorded.user_id, recorded.amount) != (asked.user_id, asked.amount):
            raise ValueError(f"the grant {asked.grant_id} was given otherwise")
        log.info("credits.granted", user_id=str(asked.user_id), grant_id=str(asked.grant_id), new=bool(new))
        return Granted(
            id=event_id("granted", SOURCE, asked.grant_id),
            source=SOURCE,
            subject=str(asked.user_id),
            time=datetime.now(UTC),
            data=Grant(user_id=recorded.user_id, amount=recorded.amount, reason=recorded.reason),
        )


def _once(requests: Iterable[Request]) -> list[Request]:
    """Each id where it first comes."""
    first: dict[UUID, Request] = {}
    for request in requests:
        first.setdefault(request.generation_id, request)
    return list(first.values())


def _log_closings(closings: Closings) -> None:
    figures.close(hold for hold, _ in (*closings.closed, *closings.new))
    log.info(
        "holds.closed",
        generation_id=[str(hold.generation_id) for hold, _ in closings.closed],
        unasked=[str(hold.generation_id) for hold, _ in closings.new],
        disputed=[str(generation_id) for generation_id in closings.disputed],
        captured_units=sum(hold.captured for hold, _ in closings.closed),
    )


def _ids(requests: Sequence[Request]) -> list[str]:
    return [str(request.generation_id) for request in requests]


def _answers(facts: Sequence[Requested], openings: Openings, known: dict[UUID, Said]) -> list[Funded | Outcome]:
    """What is to be said of each id. What ended is said again as it was recorded: the log may have been wiped."""
    contexts = {fact.data.generation_id: fact.traceparent for fact in facts}
    funded = [
        Funded.of(request, SOURCE, contexts[request.generation_id])
        for request in (*openings.opened, *openings.repeated)
    ]
    declined = [_declined(request, contexts[request.generation_id]) for request in openings.declined]
    for request in openings.ended:
        outcome = known[request.generation_id].outcome
        if outcome is not None:
            declined.append(Outcome.decode(outcome.encode()))
        elif known[request.generation_id].state is State.DECLINED:
            declined.append(_declined(request, contexts[request.generation_id]))
    return [*funded, *declined]


def _declined(request: Request, traceparent: str | None) -> Outcome:
    failure = Failure(code=INSUFFICIENT_CREDITS, message="There are not enough credits for this generation.")
    ending = Ending(generation_id=request.generation_id, verdict=Verdict.DECLINED, failure=failure)
    return Outcome.of(ending, SOURCE, traceparent)
