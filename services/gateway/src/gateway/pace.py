"""How fast one user may ask."""

import math
import time
from collections import OrderedDict
from uuid import UUID

from gateway.refusals import TooManyRequests

MAX_USERS_LIMITED = 100_000


class Pace:
    """How fast one user may ask, in this process: a bucket of one minute's tokens, and a plan's pause.

    `what` is counted, for people.
    """

    def __init__(self, per_minute: int, what: str = "generations") -> None:
        self.per_minute = per_minute
        self._what = what
        self._buckets: OrderedDict[UUID, tuple[float, float]] = OrderedDict()
        self._accepted_at: OrderedDict[UUID, float] = OrderedDict()

    def admit(self, user_id: UUID) -> None:
        """Raises TooManyRequests, with the whole seconds to wait."""
        now = time.monotonic()
        tokens = self._tokens(user_id, now)
        self._buckets.pop(user_id, None)
        self._buckets[user_id] = (max(0.0, tokens - 1) if tokens >= 1 else tokens, now)
        if len(self._buckets) > MAX_USERS_LIMITED:
            self._buckets.popitem(last=False)
        if tokens < 1:
            wait_seconds = int((1 - tokens) * 60 / self.per_minute) + 1
            raise TooManyRequests(f"At most {self.per_minute} {self._what} per minute.", wait_seconds)

    def left(self, user_id: UUID) -> tuple[int, float]:
        """How many may be asked for now, and in how many seconds it is a whole minute's again."""
        tokens = self._tokens(user_id, time.monotonic())
        return int(tokens), (self.per_minute - tokens) * 60 / self.per_minute

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

    def _tokens(self, user_id: UUID, now: float) -> float:
        tokens, at = self._buckets.get(user_id, (float(self.per_minute), now))
        return min(self.per_minute, tokens + (now - at) * self.per_minute / 60)
