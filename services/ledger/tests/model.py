"""The ledger, as simply as it can be said: what it must answer, and what its books must say after that.

Nothing is cached and nothing is kept twice: every balance follows from what was given and from how each id ended.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from contracts.facts import Outcome, Request, Requested
from contracts.questions import GrantCredits

REFUSED = "refused"
DECLINED = "declined"


@dataclass
class Hold:
    """What became of an id. Without a request its outcome came first, and it costs nothing."""

    request: Request | None = None
    state: str = "open"
    captured: int = 0
    ended_by: Outcome | None = None
    disputed: bool = False
    corrected_to: Outcome | None = None
    refunded: int = 0

    @property
    def amount(self) -> int:
        return self.request.quote.amount if self.request else 0

    def due(self, outcome: Outcome) -> int:
        if self.request is None or outcome.data.verdict != "completed":
            return 0
        return min(self.amount, self.request.quote.unit_price * len(outcome.data.assets))


@dataclass
class Model:
    """The operations of `ledger.operations.Ledger`, one after the other."""

    starting_grant: int
    gifts: dict[UUID, GrantCredits] = field(default_factory=dict)
    holds: dict[UUID, Hold] = field(default_factory=dict)

    def balance(self, user: UUID) -> tuple[int, int, int]:
        """Available, held and used."""
        theirs = [hold for hold in self.holds.values() if hold.request and hold.request.user_id == user]
        given = self.starting_grant + sum(gift.amount for gift in self.gifts.values() if gift.user_id == user)
        held = sum(hold.amount for hold in theirs if hold.state == "open")
        used = sum(hold.captured - hold.refunded for hold in theirs)
        return given - held - used, held, used

    def open_of(self, user: UUID) -> set[UUID]:
        """The generations that hold some of a user's credits."""
        return {id_ for id_, hold in self.holds.items() if hold.state == "open" and hold.request.user_id == user}

    def grant(self, asked: GrantCredits) -> GrantCredits | str:
        gift = self.gifts.setdefault(asked.grant_id, asked)
        return asked if (gift.user_id, gift.amount) == (asked.user_id, asked.amount) else REFUSED

    def hold(self, facts: Iterable[Requested]) -> dict[UUID, Request | Outcome | str]:
        """For each id the request that is funded, the outcome that ended it, or that it is declined."""
        return {fact.data.generation_id: self._hold(fact.data) for fact in facts}

    def _hold(self, request: Request) -> Request | Outcome | str:
        hold = self.holds.get(request.generation_id)
        if hold is None:
            affordable = request.quote.amount <= self.balance(request.user_id)[0]
            hold = self.holds[request.generation_id] = Hold(request, "open" if affordable else DECLINED)
        return request if hold.state == "open" else hold.corrected_to or hold.ended_by or DECLINED

    def settle(self, outcomes: Iterable[Outcome]) -> None:
        """The first outcome ends an id; a different one after it is remembered as a dispute."""
        for outcome in outcomes:
            hold = self.holds.setdefault(outcome.data.generation_id, Hold(state="released"))
            completed = outcome.data.verdict == "completed"
            if hold.state == "open":
                expired = outcome.data.failure is not None and outcome.data.failure.code == "expired"
                hold.state = "captured" if completed else "expired" if expired else "released"
                hold.captured = hold.due(outcome)
            elif hold.ended_by is None:
                hold.disputed |= hold.state == DECLINED and completed
            elif hold.ended_by.id != outcome.id:
                hold.disputed = True
            hold.ended_by = hold.ended_by or outcome

    def correct(self, told: Iterable[Outcome]) -> None:
        """Gives back what was captured too much; what was captured too little is the house's loss. Once for an id."""
        for outcome in {outcome.data.generation_id: outcome for outcome in told}.values():
            hold = self.holds.get(outcome.data.generation_id, Hold())
            hold.disputed = False
            if hold.ended_by and hold.captured != hold.due(outcome) and hold.corrected_to is None:
                hold.corrected_to = outcome
                hold.refunded = max(0, hold.captured - hold.due(outcome))
