"""One attempt: the paid call, what becomes of its task, and its result brought to where it outlives this process."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from uuid import UUID

import structlog
from prometheus_client import Counter, Histogram

from contracts.facts import Failure, Kind, Output, Request
from generator.about import LOOK_TIMEOUT_SECONDS, about
from generator.announcements import Announcer, showing
from generator.attempts import (
    DEADLINE,
    INTERRUPTED,
    KEY_NOT_READ,
    LEAST_SECONDS,
    NOT_SENT,
    RETRY_AFTER_LIMIT_SECONDS,
    Attempt,
    State,
    pause_after,
)
from generator.claims import Claims
from generator.course import Assignment
from generator.insisting import insist
from generator.moderation import Moderation
from generator.providers.darkroom import NAME as OUR_OWN
from generator.providers.interface import (
    Delivered,
    Invalid,
    Item,
    Provider,
    ProviderRefusal,
    Running,
    SigningProvider,
    Submission,
    Task,
    TaskProvider,
    Throttled,
    Unauthorized,
    Unavailable,
    Unknown,
)
from generator.writing import Text, Texts
from runtime import telemetry
from runtime.health import is_transient
from runtime.outbound import CONNECTIONS

RESULT_LOST = Failure(code="result_lost", message="The provider delivered, but the result could not be kept.")
FIND_PAUSES_SECONDS = (0.0, 2.0, 5.0, 15.0)
"""Before each question after a call whose answer was lost. That there is no task is believed the second time: the
provider may not have written it down yet."""

log = structlog.get_logger()
ATTEMPTS = Counter("attempts_total", "Paid calls, by how they ended.", ["provider", "state", "code"])
SECONDS = Histogram(
    "attempt_seconds", "Seconds a paid call took.", ["provider"], buckets=(0.1, 0.5, 1, 2, 5, 10, 20, 40, 80, 160, 320)
)


@dataclass(frozen=True, slots=True)
class Silent:
    """Nothing was learned about a task; it is looked at again, not before the pause is over."""

    pause_seconds: float = 0.0


class Submitter:
    """Makes paid calls, never more at a time than there are connections."""

    def __init__(
        self, providers: Mapping[str, Provider], claims: Claims, announcer: Announcer, moderation: Moderation
    ) -> None:
        self._moderation = moderation
        self._providers = providers
        self._claims = claims
        self._announcer = announcer
        self.texts = Texts(announcer)
        self._connections = asyncio.Semaphore(CONNECTIONS)
        self._dice = random.Random()
        self._sent: set[UUID] = set()
        self._late: set[asyncio.Task[None]] = set()
        self.own: Callable[[UUID, str], Provider | None] = lambda *_: None
        """A provider asked with the key that a user has set, where they have."""
        self.keys_read_at: Callable[[], float] = lambda: float("inf")
        """When this process last read which keys users have set, on its monotonic clock."""
        self.callback_url: Callable[[UUID, str | None], str | None] = lambda *_: None
        """Where a provider may say that the task of an attempt has moved, and which one signs what it says there."""
        self.may_send: Callable[[UUID, Attempt], bool] = lambda *_: True
        """Whether the lease under which an attempt was begun is surely ours still."""
        self.on_late: Callable[[Attempt, Task], Awaitable[None]] | None = None
        """Takes the task of a call that was answered after its generation was stopped."""

    def may_have_sent(self, attempt: Attempt) -> bool:
        """Whether this process began the call and it is not recorded how it ended."""
        return attempt.id in self._sent

    def can_be_found(self, assignment: Assignment | None, attempt: Attempt) -> bool:
        """Whether its provider can tell others what became of a call that this process began."""
        if assignment is None or assignment.kind_of(attempt) is not Kind.VIDEO:
            return False
        return self.may_have_sent(attempt) and isinstance(self._providers.get(attempt.provider), TaskProvider)

    def has_own(self, user_id: UUID, provider: str) -> bool:
        """Whether a provider is asked with a key that its user has set."""
        return self.own(user_id, provider) is not None

    def keyed(self, request: Request, attempts: Iterable[Attempt]) -> list[Attempt]:
        """The same attempts, to be made with their user's own key where they have set one."""
        return [replace(attempt, own_key=self.has_own(request.user_id, attempt.provider)) for attempt in attempts]

    def forget(self, recorded: Iterable[Attempt]) -> None:
        self._sent.difference_update(attempt.id for attempt in recorded)

    async def submit(self, assignment: Assignment, attempt: Attempt) -> Attempt:
        """Makes the call and returns the attempt as it ended, or with its task; raises nothing but cancellation."""
        async with self._connections:
            began_at = time.monotonic()
            with telemetry.span("submit", assignment.traceparent, provider=attempt.provider):
                ended = await self._call(assignment, attempt)
        _count(ended, time.monotonic() - began_at)
        return ended

    async def look(self, assignment: Assignment, attempt: Attempt) -> Attempt | Running | Silent:
        """How a task stands: the attempt as it ended, or what the provider says meanwhile."""
        task = attempt.task
        try:
            provider = self._of_tasks(assignment, attempt)
            if provider is None or task is None:
                return attempt.ended(State.UNKNOWN, Unknown().failure)
            found = await provider.look(about(assignment, attempt), task)
        except (Throttled, Unavailable) as refusal:
            return Silent(min(refusal.retry_after_seconds or 0.0, RETRY_AFTER_LIMIT_SECONDS))
        except ProviderRefusal as refusal:
            state = State.UNKNOWN if isinstance(refusal, Unknown) else State.FAILED
            ended = attempt.ended(state, refusal.failure)
        except Exception:
            log.exception("task.not_understood", attempt_id=str(attempt.id), provider=attempt.provider)
            return Silent(RETRY_AFTER_LIMIT_SECONDS)
        else:
            if isinstance(found, Running):
                return found
            ended = await self._kept(assignment, attempt, found)
        _count(ended, time.monotonic() - attempt.begun_at)
        return ended

    async def cancel(self, assignment: Assignment, attempt: Attempt, why: Failure) -> Attempt | None:
        """Stops a task: failed where the provider takes nothing for it, else unknown; None where nobody answered."""
        task, is_stopped = attempt.task, False
        try:
            provider = self._of_tasks(assignment, attempt)
            if provider is not None and task is not None:
                is_stopped = await provider.cancel(about(assignment, attempt), task)
        except (Throttled, Unavailable):
            return None
        except ProviderRefusal as refusal:
            log.info("task.not_cancelled", attempt_id=str(attempt.id), code=refusal.code)
        except Exception:
            log.exception("task.not_cancelled", attempt_id=str(attempt.id), provider=attempt.provider)
        ended = attempt.ended(State.FAILED if is_stopped else State.UNKNOWN, why)
        _count(ended, time.monotonic() - attempt.begun_at)
        return ended

    async def find(self, assignment: Assignment, attempt: Attempt) -> Attempt:
        """What became of a call whose answer was lost: its task, surely nothing, or nobody knows."""
        if attempt.provider == OUR_OWN:
            return attempt.ended(State.FAILED, NOT_SENT)
        # A call for anything but a film is answered with its result as a rule, so its task cannot be looked for.
        missed = 0
        for pause_seconds in FIND_PAUSES_SECONDS if assignment.kind_of(attempt) is Kind.VIDEO else ():
            if assignment.remaining_seconds - pause_seconds <= LEAST_SECONDS:
                break
            await asyncio.sleep(pause_seconds)
            try:
                provider = self._of_tasks(assignment, attempt)
                if provider is None:
                    break
                task = await provider.find(about(assignment, attempt))
            except (Throttled, Unavailable):
                continue
            except ProviderRefusal:
                break
            except Exception:
                log.exception("task.not_found", attempt_id=str(attempt.id), provider=attempt.provider)
                break
            if task is not None:
                log.info("attempt.found", attempt_id=str(attempt.id), provider=attempt.provider)
                return attempt.submitted(task)
            missed += 1
            if missed == 2:
                never_sent = attempt.failure == INTERRUPTED
                return attempt.ended(State.FAILED, NOT_SENT if never_sent else Unavailable().failure)
        return attempt.ended(State.UNKNOWN, attempt.failure or Unknown().failure)

    async def address(self, assignment: Assignment, attempt: Attempt, index: int) -> str | None:
        """Where the provider has an output of a finished task by now; None where it has it no more, or gives none."""
        task = attempt.task
        try:
            provider = self._of_tasks(assignment, attempt)
            if provider is None or task is None:
                return None
            found = await provider.look(about(assignment, attempt), task)
        except ProviderRefusal as refusal:
            log.info("task.has_no_address", attempt_id=str(attempt.id), code=refusal.code)
            return None
        item = None if isinstance(found, Running) else found[index - attempt.first_index]
        return item.url if isinstance(item, Delivered) else None

    async def drain(self) -> None:
        """Waits for calls that nobody waits for any more: what they began has to be stopped."""
        if self._late:
            await asyncio.wait(self._late, timeout=LOOK_TIMEOUT_SECONDS)

    # -- one call ---------------------------------------------------------------------------------------------

    async def _call(self, assignment: Assignment, attempt: Attempt) -> Attempt:
        text = self.texts.begin(assignment, attempt)
        try:
            submission = await self._ready(assignment, attempt, text)
            if isinstance(submission, Failure):
                return attempt.ended(State.FAILED, submission)
            provider = self._provider(assignment, attempt)
            if assignment.kind_of(attempt) is Kind.VIDEO and attempt.provider != OUR_OWN:
                found = await self._to_its_end(provider, attempt, submission)
            elif text is not None:
                found = await text.written_by(provider, submission)
            else:
                found = await provider.submit(submission)
        except Unknown as refusal:
            return await self.find(assignment, attempt.ended(State.INTENT, refusal.failure))
        except ProviderRefusal as refusal:
            pause_seconds = pause_after(refusal, attempt.number, self._dice)
            return attempt.ended(State.FAILED, refusal.failure, pause_seconds)
        except Exception:
            # A defect of the adapter: the call may have been paid, and the next would end the same way.
            log.exception("attempt.broken", attempt_id=str(attempt.id), provider=attempt.provider)
            return attempt.ended(State.UNKNOWN, Unknown().failure)
        if isinstance(found, Task):
            return attempt.submitted(found)
        return await self._kept(assignment, attempt, found)

    async def _ready(self, assignment: Assignment, attempt: Attempt, text: Text | None) -> Submission | Failure:
        """The call, to be made at once: from here on it may have been sent. A failure where it is not made any more,
        which is seen only now: a connection and what it starts from may have been waited for.

        Raises:
            ProviderRefusal: what it starts from is gone, or too large.
        """
        try:
            submission = await self._submission(assignment, attempt, text)
        except ProviderRefusal:
            raise
        except Exception as error:
            if is_transient(error):
                return DEADLINE
            log.exception("attempt.broken", attempt_id=str(attempt.id), provider=attempt.provider)
            return Invalid().failure
        _heed_cancellation()
        if assignment.remaining_seconds <= LEAST_SECONDS or submission.timeout_seconds <= 0:
            return DEADLINE
        # A process that was stopped since its intent: others may have asked the provider, heard of nothing and begun
        # anew.
        if not self.may_send(assignment.request.generation_id, attempt):
            return NOT_SENT
        if attempt.provider != OUR_OWN:  # what we make ourselves was not paid for, whatever becomes of it
            self._sent.add(attempt.id)
        return submission

    async def _to_its_end(self, provider: Provider, attempt: Attempt, submission: Submission) -> Sequence[Item] | Task:
        """A call that begins a film is not cut off: without the answer nobody could stop what it began."""
        call = asyncio.ensure_future(provider.submit(submission))
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            late = asyncio.create_task(self._hear_late(attempt, call), name="late submission")
            self._late.add(late)
            late.add_done_callback(self._late.discard)
            raise

    async def _hear_late(self, attempt: Attempt, call: "asyncio.Future[Sequence[Item] | Task]") -> None:
        try:
            found = await call
            if isinstance(found, Task) and self.on_late is not None:
                await self.on_late(attempt, found)
        except Exception as error:
            log.warning("attempt.answered_late", attempt_id=str(attempt.id), error=repr(error))

    async def _submission(self, assignment: Assignment, attempt: Attempt, text: Text | None) -> Submission:
        ends_at = assignment.provider_deadline(attempt)
        inputs = (*assignment.request.inputs, *assignment.made) if attempt.kind is None else ()
        read = partial(self._claims.given, assignment.request.user_id, inputs)
        given = await insist(read, ends_at) if inputs else ()
        return replace(
            about(assignment, attempt),
            timeout_seconds=ends_at - time.monotonic(),
            given=given,
            callback_url=self.callback_url(attempt.id, self._signer(attempt)),
            say=text.say if text else None,
            show=showing(self._announcer, assignment.request, attempt.number),
        )

    def _provider(self, assignment: Assignment, attempt: Attempt) -> Provider:
        """Who is asked, with the key that the attempt was begun with: no other account knows of it.

        Raises:
            Unauthorized: that key is not there any more.
            Unavailable: this process may not have read it yet.

        Of what a former version began nobody wrote down whose key it was: its user's, where they have one.
        """
        found = None
        if attempt.own_key is not False:
            found = self.own(assignment.request.user_id, attempt.provider)
            if found is None and self.keys_read_at() <= attempt.begun_at:
                raise Unavailable(KEY_NOT_READ.message)
        if found is None and not attempt.own_key:
            found = self._providers.get(attempt.provider)
        if found is None:
            raise Unauthorized("The key that this was begun with is not there any more.")
        return found

    @cached_property
    def _signing(self) -> frozenset[str]:
        """Asked for with the first call: who the providers are is not known before there is a session."""
        return frozenset(name for name, each in self._providers.items() if isinstance(each, SigningProvider))

    def _signer(self, attempt: Attempt) -> str | None:
        """The provider, where it signs; with a user's own key it may sign by a secret of theirs."""
        return attempt.provider if attempt.provider in self._signing and not attempt.own_key else None

    def _of_tasks(self, assignment: Assignment, attempt: Attempt) -> TaskProvider | None:
        """Raises as `_provider` does."""
        provider = self._provider(assignment, attempt) if attempt.provider in self._providers else None
        return provider if isinstance(provider, TaskProvider) else None

    # -- its result -------------------------------------------------------------------------------------------

    async def _kept(self, assignment: Assignment, attempt: Attempt, items: Sequence[Item]) -> Attempt:
        try:
            first = items[0]
            if isinstance(first, Delivered) and first.text is not None:
                return attempt.written(first.text, first.usage, first.calls, first.cut_by)
            kept = attempt.rendered(await self._keep(assignment, attempt, items))
        except Exception:
            log.exception("attempt.result_lost", attempt_id=str(attempt.id), provider=attempt.provider)
            return attempt.ended(State.FAILED, RESULT_LOST)
        if kept.failure is None:
            return kept
        return kept.ended(State.FAILED, kept.failure, pause_after(Unavailable(), attempt.number, self._dice))

    async def _keep(self, assignment: Assignment, attempt: Attempt, items: Sequence[Item]) -> tuple[Output, ...]:
        indexed = zip(attempt.indexes, items, strict=True)
        return tuple(await asyncio.gather(*(self._output(assignment, attempt, *each) for each in indexed)))

    async def _output(self, assignment: Assignment, attempt: Attempt, index: int, item: Item) -> Output:
        if isinstance(item, Failure):
            return Output(index=index, failure=item)
        if assignment.request.kind is Kind.IMAGE:
            refusal = await self._moderation.judge_picture(item)
            if refusal is not None:
                return Output(index=index, failure=refusal)
        if item.content is None:
            return Output(index=index, url=item.url, mime_type=item.mime_type)
        name = f"{attempt.id}-{index}"
        await insist(partial(self._claims.put, name, item.content), assignment.give_up_at)
        return Output(index=index, claim=name, mime_type=item.mime_type)


def _heed_cancellation() -> None:
    """Nobody is paid by a task that was told to stop: Python 3.11's `wait_for`, in the client of the bus, swallows that
    where its answer has just come."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _count(attempt: Attempt, seconds: float) -> None:
    code = attempt.failure.code if attempt.failure else ""
    ATTEMPTS.labels(attempt.provider, attempt.state, code).inc()
    if attempt.state is not State.SUBMITTED:
        SECONDS.labels(attempt.provider).observe(seconds)
    if attempt.failure is not None:
        log.warning(
            "attempt.not_rendered",
            attempt_id=str(attempt.id),
            provider=attempt.provider,
            number=attempt.number,
            state=attempt.state,
            code=code,
            seconds=round(seconds, 3),
        )
