"""What always holds, looked at once all is calm."""

from collections import Counter
from collections.abc import Iterator

from contracts.facts import Verdict
from generator.attempts import State as Attempted
from ledger.domain.holds import due
from ledger.domain.transactions import Purse
from tests.simulation.provider import MODELS
from tests.simulation.rendering import most_calls
from tests.simulation.world import World


def contradictions(world: World) -> list[str]:
    """Nothing where all is well; each begins with the promise that is broken (docs/reliability.md)."""
    return [
        *_rows(world),
        *_money(world),
        *_charged(world),
        *_paid(world),
        *_bytes(world),
        *(f"P7 below zero: {words}" for words in world.holding.overdrawn),
        *(f"P16 went backwards: {id_}" for id_ in world.accepting.backwards),
        *(f"P16 went backwards: {words}" for words in world.workshop.backwards),
        *(f"P2 acknowledged and not done: {words}" for words in world.unfair),
    ]


def _rows(world: World) -> Iterator[str]:
    for id_ in world.accepting.answered:
        row = world.accepting.rows.get(id_)
        if row is None or row.outcome is None:
            yield f"P1 accepted and never ended: {id_}"
            continue
        # After a wipe the streams of notifications are others, too: clients read the rows anew.
        if not set(row.told) <= {row.outcome.data.verdict.value} or not (row.told or world.wipes):
            yield f"P15 told {row.told}, recorded {row.outcome.data.verdict}: {id_}"
        said = [outcome for (_, known), outcome in world.log.accepted.items() if known == id_]
        if not world.wipes and any(outcome.id != row.outcome.id for outcome in said):
            yield f"P16 the log accepted {said[0].data.verdict}, recorded is {row.outcome.data.verdict}: {id_}"


def _money(world: World) -> Iterator[str]:
    holding = world.holding
    posted = {user_id: dict.fromkeys(Purse, 0) for user_id in holding.balances}
    for transaction in holding.transactions.values():
        for purse, units in transaction.postings:
            posted[transaction.user_id][purse] += units
    for user_id, purses in holding.balances.items():
        if sum(purses.values()):
            yield f"P8 does not add up to zero: {user_id}"
        if purses != posted[user_id]:
            yield f"P8 the balance is not the sum of its postings: {user_id}"
        if purses[Purse.HELD]:
            yield f"P9 held though nothing is open: {user_id} {purses[Purse.HELD]}"


def _charged(world: World) -> Iterator[str]:
    charged: Counter[object] = Counter()
    for transaction in world.holding.transactions.values():
        if transaction.generation_id is not None:
            moved = dict(transaction.postings)
            charged[transaction.generation_id] += moved.get(Purse.REVENUE, 0) + moved.get(Purse.WRITEOFF, 0)
    for id_, row in world.accepting.rows.items():
        if row.outcome is None:
            continue
        owed, paid = due(row.request.quote, row.outcome), charged[id_]
        lost = any(key == f"write_off:{id_}" for key in world.holding.transactions)
        if paid > row.request.quote.amount:
            yield f"P6 charged {paid}, quoted {row.request.quote.amount}: {id_}"
        if paid > owed:
            yield f"P4 P5 charged {paid}, {row.outcome.data.verdict} costs {owed}: {id_}"
        if paid < owed and not lost:
            yield f"P4 charged {paid}, {row.outcome.data.verdict} costs {owed}: {id_}"
        if not world.wipes and id_ in world.holding.corrected:
            yield f"P5 corrected though the log was never lost: {id_}"


def _paid(world: World) -> Iterator[str]:
    for reference, calls in Counter(world.provider.billed).items():
        if calls > 1:
            yield f"P11 one attempt, {calls} paid calls: {reference}"
    billed = set(world.provider.billed)
    for id_, work in world.workshop.work.items():
        if work.request is None:
            continue
        model = MODELS[work.request.model]
        for item, calls in Counter(attempt.item for attempt in work.attempts.values() if attempt.id in billed).items():
            if calls > most_calls(model):
                yield f"P11 submission {item} was paid {calls} times: {id_}"
        rendered = Counter(attempt.item for attempt in work.attempts.values() if attempt.state is Attempted.RENDERED)
        if any(number > 1 for number in rendered.values()):
            yield f"P11 delivered twice: {id_}"


def _bytes(world: World) -> Iterator[str]:
    for id_, row in world.accepting.rows.items():
        if row.outcome is None:
            continue
        named = {asset.id: asset.sha256 for asset in row.outcome.data.assets}
        rows = {key: (asset, state) for key, (of, asset, state) in world.storing.assets.items() if of == id_}
        if row.outcome.data.verdict is Verdict.COMPLETED and not named:
            yield f"P17 completed without anything: {id_}"
        for key, digest in named.items():
            if key not in rows or rows[key][1] != "stored" or rows[key][0].sha256 != digest:
                yield f"P17 told of an asset that is not stored: {id_}"
            elif digest not in world.storing.objects:
                yield f"P17 stored without its bytes: {id_}"
        if rows.keys() - named.keys() and not world.wipes:
            yield f"P17 rows left behind: {id_}"
