"""`python -m bench.ledger_run --minutes 10`: all that moves money, at once and for long, before an auditor.

Two ledger processes on a real NATS and a real Postgres. Many clients ask for holds, end them in every way, say things
twice, grant, consume, change plans; every few seconds the auditor looks into the books. At the end each client's own
list is compared with what became of it.
"""

import argparse
import asyncio
import contextlib
import json
import platform
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from nats.errors import Error as NatsError
from nats.js.errors import APIError
from rich.console import Console
from rich.table import Table

from bench import RESULTS
from bench.ledger import Bench, started
from contracts.facts import Asset, Ending, Failure, Kind, Outcome, Request, Requested, Verdict
from contracts.ids import new_generation_id
from contracts.money import (
    UNITS_PER_CREDIT,
    Balance,
    Quote,
)
from contracts.questions import (
    LEDGER_BALANCE,
    LEDGER_CONSUME,
    LEDGER_GRANT,
    LEDGER_SET_PLAN,
    BalanceOf,
    ConsumeCredits,
    Consumption,
    GrantCredits,
    PlanSet,
    SetPlan,
)
from contracts.topology import outcome_subject, requested_subject
from darkroom.audit import money
from darkroom.audit.evidence import Bounds, Evidence

USERS = 60
CLIENTS = 12
STARTING_CREDITS = 10
DAILY_CAP_CREDITS = 8
MONTHLY_CREDITS = 15
PAUSE_SECONDS = 0.02
AUDIT_SECONDS = 5.0
ANSWER_SECONDS = 10.0
START_SECONDS = 60.0
OTHER_OUTCOME = 10077
"""The log has one of this generation: the ledger's own."""
CHECKS = (money.postings, money.balances, money.consumed)
_PLANS = f"""
    INSERT INTO ledger.plans (name, monthly_grant, daily_spend_cap) VALUES
        ('bounded', 0, {DAILY_CAP_CREDITS * UNITS_PER_CREDIT}), ('giving', {MONTHLY_CREDITS * UNITS_PER_CREDIT}, NULL)
"""
_WRONG = {
    "a daily cap was passed": f"""
        SELECT h.user_id FROM ledger.holds h JOIN ledger.accounts a USING (user_id)
        WHERE a.plan = 'bounded' GROUP BY h.user_id, (h.opened_at AT TIME ZONE 'UTC')::date
        HAVING sum(CASE h.state WHEN 'open' THEN h.amount ELSE h.captured END) >
               {DAILY_CAP_CREDITS * UNITS_PER_CREDIT}""",
    "a month was granted twice": """
        SELECT p.user_id FROM ledger.transactions t JOIN ledger.postings p ON p.transaction_id = t.id
        WHERE t.type = 'monthly_grant' AND p.purse = 'promotion' GROUP BY p.user_id, t.reason HAVING count(*) > 1""",
    "a hold was captured twice": """
        SELECT generation_id FROM ledger.transactions WHERE type = 'capture' GROUP BY generation_id
        HAVING count(*) > 1""",
    "a hold captured more than its quote": "SELECT generation_id FROM ledger.holds WHERE captured > amount",
}
"""What must find nothing, at any moment."""
_STATES = "SELECT coalesce(declined_for, state), count(*) FROM ledger.holds GROUP BY 1 ORDER BY 1"


@dataclass
class Seen:
    """What the clients did, and what they were told."""

    done: Counter[str] = field(default_factory=Counter)
    asked: list[UUID] = field(default_factory=list)
    ended: dict[UUID, int] = field(default_factory=dict)
    """By generation: how many outputs its outcome delivered."""
    granted: dict[UUID, int] = field(default_factory=dict)
    consumed: dict[UUID, int] = field(default_factory=dict)


class Client:
    """One of those who do all of it, in any order."""

    def __init__(self, bench: Bench, users: Sequence[UUID], seen: Seen, seed: int) -> None:
        self._bench = bench
        self._jetstream = bench.client.jetstream(timeout=ANSWER_SECONDS)
        self._users = users
        self._seen = seen
        self._random = random.Random(seed)
        self._open: list[Request] = []

    async def run(self, until: float) -> None:
        acts = (self.ask, self.ask, self.end, self.end, self.grant, self.consume, self.look)
        while time.monotonic() < until:
            await self._random.choice(acts)()
            await asyncio.sleep(self._random.random() * 2 * PAUSE_SECONDS)
        while self._open:
            await self.end()

    async def ask(self) -> None:
        request = self._request()
        for _ in range(self._random.choice((1, 1, 1, 2))):
            await self._say(requested_subject(request), Requested.of(request, "gateway", None).encode())
        self._open.append(request)
        self._seen.asked.append(request.generation_id)

    async def end(self) -> None:
        if not self._open:
            return
        request = self._open.pop(self._random.randrange(len(self._open)))
        delivered = self._random.choice((0, *range(request.count + 1)))
        outcome = _outcome(request.generation_id, delivered)
        try:
            await self._say(outcome_subject(request.generation_id), outcome.encode())
        except APIError as error:
            if error.err_code != OTHER_OUTCOME:
                raise
            self._seen.done["declined before"] += 1
        else:
            self._seen.ended[request.generation_id] = delivered

    async def grant(self) -> None:
        asked = GrantCredits(grant_id=uuid4(), user_id=self._user(), amount=self._random.randint(1, 30_000))
        for _ in range(self._random.choice((1, 2))):
            await self._question(LEDGER_GRANT, asked, Balance)
        self._seen.granted[asked.grant_id] = asked.amount

    async def consume(self) -> None:
        asked = ConsumeCredits(consumption_id=uuid4(), user_id=self._user(), amount=self._random.randint(1, 30_000))
        answers = [await self._question(LEDGER_CONSUME, asked, Consumption) for _ in range(self._random.choice((1, 2)))]
        if answers[-1].state == "consumed":
            self._seen.consumed[asked.consumption_id] = asked.amount

    async def look(self) -> None:
        await self._question(LEDGER_BALANCE, BalanceOf(user_id=self._user()), Balance)

    def _user(self) -> UUID:
        return self._random.choice(self._users)

    def _request(self) -> Request:
        count = self._random.randint(1, 4)
        price = self._random.randint(1, 2 * UNITS_PER_CREDIT)
        return Request(
            generation_id=new_generation_id(),
            user_id=self._user(),
            kind=Kind.IMAGE,
            model="dall-e-2",
            prompt="A quiet harbour at night",
            count=count,
            prepaid=self._random.random() < 0.3,
            quote=Quote(amount=price * count, unit_price=price, price_version=1),
            deadline_at=datetime.now(UTC) + timedelta(hours=1),
        )

    async def _say(self, subject: str, payload: bytes) -> None:
        await self._jetstream.publish(subject, payload)
        self._seen.done["facts"] += 1

    async def _question(self, subject: str, question: Any, answer: Any) -> Any:
        payload = question.model_dump_json().encode()
        reply = await self._bench.client.request(subject, payload, timeout=ANSWER_SECONDS)
        self._seen.done["questions"] += 1
        return answer.model_validate_json(reply.data)


def _outcome(generation_id: UUID, delivered: int) -> Outcome:
    if not delivered:
        failure = Failure(code="provider_error", message="It did not work.")
        ending = Ending(generation_id=generation_id, verdict=Verdict.FAILED, failure=failure)
        return Outcome.of(ending, "generator", None)
    assets = tuple(
        Asset(id=uuid4(), index=index, key="a/b.png", mime_type="image/png", size_bytes=1, sha256="0" * 64)
        for index in range(delivered)
    )
    return Outcome.of(Ending(generation_id=generation_id, verdict=Verdict.COMPLETED, assets=assets), "storage", None)


class Auditor:
    """Looks into the books again and again; `wrong` stays empty."""

    def __init__(self, admin_url: str) -> None:
        self._admin_url = admin_url
        self.looks = 0
        self.longest_seconds = 0.0
        self.wrong: list[str] = []

    async def run(self, pause_seconds: float) -> None:
        while True:
            await self.look()
            await asyncio.sleep(pause_seconds)

    async def look(self) -> None:
        """On one moment of the database."""
        began = time.monotonic()
        connection = await asyncpg.connect(self._admin_url)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                evidence = Evidence(connection, Bounds())
                for check in CHECKS:
                    self.wrong += [f"{found.about}: {found.words}" for found in (await check(evidence)).findings]
                for words, query in _WRONG.items():
                    self.wrong += [f"{row[0]}: {words}" for row in await connection.fetch(query)]
        finally:
            await connection.close()
        self.looks += 1
        self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)


async def compare(bench: Bench, seen: Seen) -> list[str]:
    """Where a client's list differs from the books."""
    holds = {row["generation_id"]: row for row in await bench.connection.fetch("SELECT * FROM ledger.holds")}
    wrong = [f"{id_}: nobody held it" for id_ in seen.asked if id_ not in holds]
    for generation_id, delivered in seen.ended.items():
        hold = holds[generation_id]
        due = min(hold["amount"], hold["unit_price"] * delivered) if hold["state"] == "captured" else 0
        if hold["state"] == "open" or hold["captured"] != due:
            wrong.append(f"{generation_id}: {hold['state']} with {hold['captured']} for {delivered} delivered")
    given = "SELECT key, amount FROM ledger.transactions t JOIN ledger.postings p ON t.id = p.transaction_id"
    grants = dict(await bench.connection.fetch(f"{given} WHERE type = 'grant' AND purse = 'available'"))
    wrong += [f"{id_}: not given once" for id_, amount in seen.granted.items() if grants.get(f"grant:{id_}") != amount]
    taken = dict(await bench.connection.fetch("SELECT id, amount FROM ledger.consumptions"))
    wrong += [] if taken == seen.consumed else ["what was consumed is not what its clients were told"]
    return wrong


async def _answered(bench: Bench) -> None:
    """Until somebody answers questions."""
    async with asyncio.timeout(START_SECONDS):
        while True:
            question = BalanceOf(user_id=uuid4()).model_dump_json().encode()
            with contextlib.suppress(NatsError, TimeoutError):
                await bench.client.request(LEDGER_BALANCE, question, timeout=1)
                return
            await asyncio.sleep(0.1)


async def run(folder: Path, seconds: float, audit_seconds: float = AUDIT_SECONDS) -> dict[str, Any]:
    """Figures, and under `wrong` whatever was."""
    async with started(folder, ledgers=2, starting_credits=STARTING_CREDITS) as (bench, admin_url):
        users, seen, auditor = [uuid4() for _ in range(USERS)], Seen(), Auditor(admin_url)
        await bench.connection.execute(_PLANS)
        await _answered(bench)
        for number, user in enumerate(users):
            plan = SetPlan(user_id=user, plan=("free", "bounded", "giving")[number % 3])
            reply = await bench.client.request(LEDGER_SET_PLAN, plan.model_dump_json().encode(), timeout=ANSWER_SECONDS)
            assert PlanSet.model_validate_json(reply.data).problem is None
        auditing = asyncio.create_task(auditor.run(audit_seconds))
        before, began = bench.cpu_seconds(), time.monotonic()
        clients = [Client(bench, users, seen, seed) for seed in range(CLIENTS)]
        try:
            await asyncio.gather(*(client.run(began + seconds) for client in clients))
            await bench.quiet()
        finally:
            took = time.monotonic() - began
            auditing.cancel()
            await asyncio.wait([auditing])
        if not auditing.cancelled():
            auditing.result()
        await auditor.look()
        states = await bench.connection.fetch(_STATES)
        return {
            "seconds": took,
            "facts": seen.done["facts"],
            "questions": seen.done["questions"],
            "facts and questions/s": seen.done.total() / took,
            "CPU-s of ledgers, broker and database": bench.cpu_seconds() - before,
            **{f"holds {row[0]}": row[1] for row in states},
            "grants": len(seen.granted),
            "consumptions": len(seen.consumed),
            "postings": await bench.connection.fetchval("SELECT count(*) FROM ledger.postings"),
            "audits": auditor.looks,
            "longest audit, s": auditor.longest_seconds,
            "wrong": auditor.wrong + await compare(bench, seen),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    minutes = parser.parse_args().minutes
    with tempfile.TemporaryDirectory(prefix="darkroom-bench-") as folder:
        found = asyncio.run(run(Path(folder), 60 * minutes))
    table = Table("", "measured", title=f"The ledger for {minutes:g} minutes, {CLIENTS} clients, {USERS} accounts")
    for row, value in found.items():
        shown = "; ".join(value) or "nothing" if isinstance(value, list) else f"{value:,.2f}".removesuffix(".00")
        table.add_row(row, shown)
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    found |= {"machine": platform.platform(), "python": platform.python_version()}
    (RESULTS / time.strftime("ledger-run-%Y-%m-%dT%H%M%S.json")).write_text(json.dumps(found, indent=1) + "\n")
    raise SystemExit(1 if found["wrong"] else 0)


if __name__ == "__main__":
    main()
