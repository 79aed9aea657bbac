"""Who is not asked for a while: a provider's model that failed again and again, known to every process.

Each process counts for itself; what it opens stands in a row, which the others read with the catalog. After its time
one call tries again, and how that ends decides. What a provider refuses for good opens nothing, neither do inputs that
cannot be read, and neither does what it was never asked. Tasks that were taken and made nothing are counted beside
calls that failed: a provider that takes everything and makes nothing is left alone too, and for that nothing but a
result is a cure.

Where our account is refused, its quota used up or its key not accepted, waiting is no help: those who stand in are
asked first for a while, and where there is none it is asked as before, since to be refused costs nothing and is said
at once. Whoever comes with a key of their own is not concerned.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog
from prometheus_client import Counter
from sqlalchemy import TextClause, text

from generator.attempts import NEVER_ASKED, Attempt, State, is_account_refused
from generator.catalog import Model
from generator.providers.interface import Unavailable, Unknown, Unreadable
from runtime.database import Database

FAILURES_TO_OPEN = 10
"""In a row, of one process."""
OPEN_SECONDS = (15.0, 120.0)
"""The first time, which doubles with each trial that fails, and the longest."""
TRIAL_SECONDS = 10.0
"""How long the others wait for the one that tries again."""
REFUSED_SECONDS = 60.0
"""How long others are asked first where our account was refused; each process learns it for itself."""

_READ = text("""
    SELECT provider, model, by_tasks, EXTRACT(EPOCH FROM open_until - now())::float8 AS seconds FROM breakers
""")
_OPEN = text("""
    INSERT INTO breakers (provider, model, by_tasks, open_until)
    VALUES (:provider, :model, :by_tasks, now() + make_interval(secs => :seconds))
    ON CONFLICT (provider, model) DO UPDATE SET
        by_tasks = excluded.by_tasks, open_until = GREATEST(breakers.open_until, excluded.open_until)
""")
_CLOSE = text("DELETE FROM breakers WHERE provider = :provider AND model = :model")

log = structlog.get_logger()
OPENED = Counter("breakers_opened_total", "Times that a provider's model was left alone.", ["provider", "model"])


@dataclass(slots=True)
class _Breaker:
    """One model of one provider, as this process sees it; times on the monotonic clock."""

    failures: int = 0
    lost: int = 0
    """Tasks that made nothing, since the last that did."""
    by_tasks: bool = False
    """Whether they opened it."""
    open_seconds: float = 0.0
    """How long it was open last; 0 where it is closed."""
    open_until: float = 0.0
    is_tried: bool = False
    """Whether one call was let through since it was opened."""


class Breakers:
    """Those of one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[tuple[str, str], _Breaker] = {}
        self._refused_until: dict[tuple[str, str], float] = {}
        """Where our account was, on the monotonic clock."""

    def worker(self, model: Model, has_own: Callable[[str], bool] = lambda _provider: False) -> Model | None:
        """Who is asked for the work of a model: itself, else the first stand-in that is not left alone either.
        `has_own`: whether it would be asked with a key of the user's own."""
        return next(iter(self.workers(model, (1,), has_own)), None)

    def workers(self, model: Model, counts: Iterable[int], has_own: Callable[[str], bool]) -> list[Model]:
        """The same for each of several calls that are made together, for so many outputs; nobody where one of them
        cannot be made now. All of them are one trial."""
        workers = []
        for count in counts:
            others = (other for other in model.fallbacks if other.max_per_submission >= count)
            free = [each for each in (model, *others) if self.blocked_seconds(each) <= 0]
            welcome = (each for each in free if has_own(each.provider) or not self._is_refused(each))
            if not free:
                return []
            workers.append(next(welcome, free[0]))
        for worker in workers:
            self._try(worker)
        return workers

    def give_back(self, provider: str, model: str | None) -> None:
        """The call that was let through was not made, so the next one is."""
        breaker = self._known.get((provider, model or ""))
        if breaker is not None and breaker.is_tried:
            breaker.open_until = min(breaker.open_until, time.monotonic())

    def blocked_seconds(self, model: Model) -> float:
        """How long it is still left alone."""
        breaker = self._known.get((model.provider, model.id))
        return breaker.open_until - time.monotonic() if breaker is not None and breaker.open_seconds else 0.0

    async def note(self, attempt: Attempt) -> None:
        """Learns from how a call ended."""
        key = (attempt.provider, attempt.model or "")
        breaker = self._known.get(key)
        if attempt.failure in (*NEVER_ASKED, Unreadable().failure):
            self.give_back(*key)
            return
        self._learn_of_account(attempt, key)
        failed = attempt.failure is not None and attempt.failure.code in {Unavailable.code, Unknown.code}
        if not failed:
            if breaker is not None and attempt.state is State.SUBMITTED and (breaker.lost or breaker.by_tasks):
                breaker.failures = 0
            elif breaker is not None and attempt.state in {State.RENDERED, State.SUBMITTED}:
                del self._known[key]
                if breaker.open_seconds:
                    await self._write(_CLOSE, key)
                    log.info("breaker.closed", provider=key[0], model=key[1])
            return
        breaker = self._known.setdefault(key, _Breaker())
        if breaker.open_seconds and not breaker.is_tried:
            return  # under way when it was opened: those that fail together would each be a trial
        is_task = attempt.task is not None
        breaker.failures, breaker.lost = breaker.failures + (not is_task), breaker.lost + is_task
        if max(breaker.failures, breaker.lost) < FAILURES_TO_OPEN and not breaker.open_seconds:
            return
        breaker.by_tasks = is_task
        first, most = OPEN_SECONDS
        breaker.open_seconds = min(most, max(first, 2 * breaker.open_seconds))
        breaker.open_until = time.monotonic() + breaker.open_seconds
        breaker.failures, breaker.lost, breaker.is_tried = 0, 0, False
        OPENED.labels(*key).inc()
        log.warning("breaker.opened", provider=key[0], model=key[1], seconds=breaker.open_seconds)
        await self._write(_OPEN, key, seconds=breaker.open_seconds, by_tasks=is_task)

    async def refresh(self) -> None:
        """Reads what others have opened and closed."""
        async with self._database.statement() as connection:
            rows = (await connection.execute(_READ)).all()
        now = time.monotonic()
        opened = {(row.provider, row.model): row for row in rows}
        for key, row in opened.items():
            breaker = self._known.setdefault(key, _Breaker())
            if not breaker.open_seconds:
                breaker.open_seconds, breaker.open_until = OPEN_SECONDS[0], now + row.seconds
                breaker.by_tasks = row.by_tasks
        for key in [key for key, breaker in self._known.items() if breaker.open_seconds and key not in opened]:
            del self._known[key]

    def _is_refused(self, model: Model) -> bool:
        return self._refused_until.get((model.provider, model.id), 0.0) > time.monotonic()

    def _learn_of_account(self, attempt: Attempt, key: tuple[str, str]) -> None:
        if attempt.own_key is not False:
            return
        if is_account_refused(attempt):
            self._refused_until[key] = time.monotonic() + REFUSED_SECONDS
        elif attempt.state in {State.RENDERED, State.SUBMITTED}:
            self._refused_until.pop(key, None)

    def _try(self, model: Model) -> None:
        """One call is let through after the time; the others wait for what becomes of it."""
        breaker = self._known.get((model.provider, model.id))
        if breaker is not None and breaker.open_seconds:
            breaker.open_until, breaker.is_tried = time.monotonic() + TRIAL_SECONDS, True

    async def _write(self, statement: TextClause, key: tuple[str, str], **values: float) -> None:
        """The others learn it a little later where the database is away."""
        try:
            async with self._database.statement() as connection:
                await connection.execute(statement, {"provider": key[0], "model": key[1], **values})
        except Exception as error:
            log.warning("breaker.not_shared", error=repr(error))
