"""What every adapter must do that answers with tasks, which are followed, stopped and found again."""

import io
from typing import Any, ClassVar
from uuid import uuid4

import av
import pytest

from contracts.facts import Kind
from generator.providers.interface import (
    Delivered,
    ProviderRefusal,
    Running,
    Task,
    TaskProvider,
    Throttled,
    Unavailable,
    Unknown,
)

from .conformance import KEY, LIES, ProviderConformance
from .stage import until
from .vendor import answering, content_of, steer


class TaskConformance(ProviderConformance):
    """An adapter that answers with tasks; videos unless a subclass says otherwise."""

    kind = Kind.VIDEO
    size = "864x480"
    asked: ClassVar[dict[str, Any]] = {"seconds": 2}
    meanings: ClassVar[dict[str, type[ProviderRefusal]]] = {"empty-200": Unknown}
    malformed = (b"", b"<html>busy</html>", b"[1, 2]", b"{}", b'{"id": 5}', b'{"id": ""}', b'{"id": "../../admin"}')
    malformed_looks: tuple[bytes, ...] = (b"", b"<html>busy</html>", b"[1, 2]", b'{"id": "x", "status": 5}')
    stops_what_waits = True
    finds = True
    """Whether the provider can be asked for what it has by something that we told it."""
    stops_what_runs = False

    async def delivered(self, provider, submission):
        task = await provider.submit(submission)
        assert isinstance(task, Task)

        async def ended():
            found = await provider.look(submission, task)
            return None if isinstance(found, Running) else found

        return await until(ended)

    async def check(self, item):
        """A film that plays."""
        assert isinstance(item, Delivered) and item.mime_type == "video/mp4"
        with av.open(io.BytesIO(await content_of(item))) as film:
            [stream] = film.streams.video
            assert stream.codec.name == "h264"
            self.check_film(film.duration / 1_000_000, stream.width, stream.height)

    def check_film(self, seconds, width, height):
        assert (seconds, width, height) == (2, 864, 480)

    async def test_it_can_follow_tasks(self, provider):
        assert isinstance(provider, TaskProvider)

    async def test_it_waits_runs_and_ends(self, provider, simulator):
        submission = self.submission("[[sim:latency=100]]")
        task = await provider.submit(submission)
        stages = []
        for seconds in (0, 30, 30):
            steer(simulator, "POST", "clock", {"seconds": seconds})
            found = await provider.look(submission, task)
            assert isinstance(found, Running)
            stages.append(found.stage)
        assert stages == ["waiting", "rendering", "rendering"]
        steer(simulator, "POST", "clock", {"seconds": 60})
        [item] = await provider.look(submission, task)
        await self.check(item)
        [call] = self.journal(simulator)
        assert call["billed"] == 1

    async def test_any_process_can_look(self, provider, session, simulator):
        """What is kept of a task is enough."""
        submission = self.submission()
        task = await provider.submit(submission)
        other = self.make(session, simulator.url + self.path)
        [item] = await other.look(submission, Task(task.id))
        assert isinstance(item, Delivered)

    @pytest.mark.parametrize(
        ("fault", "code"), [("task-failed", "provider_unavailable"), ("task-moderated", "content_policy")]
    )
    async def test_a_task_that_fails_says_why(self, provider, simulator, fault, code):
        items = await self.delivered(provider, self.submission(f"[[sim:{fault}]]"))
        assert [item.code for item in items] == [code]
        assert KEY not in str(items) and "request id" not in str(items).lower()
        [call] = self.journal(simulator)
        assert call["billed"] == 0

    @pytest.mark.parametrize("fault", ["task-no-url", "task-forgotten"])
    async def test_a_task_of_which_nothing_can_be_had_is_unknown(self, provider, fault):
        submission = self.submission(f"[[sim:{fault}]]")
        task = await provider.submit(submission)
        with pytest.raises(Unknown) as refused:
            await provider.look(submission, task)
        assert task.id not in str(refused.value)

    async def test_a_word_that_nobody_documented_ends_nothing(self, provider):
        submission = self.submission("[[sim:task-word]]")
        assert isinstance(await provider.look(submission, await provider.submit(submission)), Running)

    async def test_a_task_that_goes_back_is_told_as_it_is(self, provider):
        """Nothing is remembered between looks: the first that delivers counts."""
        submission = self.submission("[[sim:task-backwards]]")
        task = await provider.submit(submission)
        looks = [isinstance(await provider.look(submission, task), Running) for _ in range(3)]
        assert looks == [False, True, False]

    @pytest.mark.parametrize(
        ("fault", "refusal"),
        [("429", Throttled), ("500", Unavailable), ("502", Unavailable), ("504", Unavailable), ("401", Unavailable)],
    )
    async def test_a_look_that_fails_says_nothing_about_the_task(self, provider, fault, refusal):
        submission = self.submission(f"[[sim:look-refusedx1={fault}]]")
        task = await provider.submit(submission)
        with pytest.raises(refusal) as refused:
            await provider.look(submission, task)
        assert type(refused.value) is refusal
        [item] = await provider.look(submission, task)
        assert isinstance(item, Delivered)

    async def test_a_look_that_makes_no_sense_says_nothing_about_the_task(self, session, provider, simulator):
        submission, task = self.submission(), Task("cgt-1")
        for body in self.malformed_looks:
            async with answering(200, body) as url:
                with pytest.raises(Unavailable):
                    await self.make(session, url).look(submission, task)
        async with answering(302, b"", {"Location": "http://169.254.169.254/latest/meta-data/"}) as url:
            with pytest.raises(Unavailable):
                await self.make(session, url).look(submission, task)
        for body in LIES:
            async with answering(200, body) as url:
                with pytest.raises(Unavailable):
                    await self.make(session, url).look(submission, task)
        with pytest.raises(Unavailable):
            await self.make(session, "http://127.0.0.1:9").look(submission, task)
        with pytest.raises(Unavailable):
            await self.make(session, simulator.url + self.path, max_answer_bytes=20).look(submission, task)

    async def test_what_waits_can_be_stopped_and_costs_nothing(self, provider, simulator):
        submission = self.submission("[[sim:latency=100]]")
        task = await provider.submit(submission)
        for _ in range(2):  # a handler can run twice
            assert await provider.cancel(submission, task) == self.stops_what_waits
        if not self.stops_what_waits:
            return
        items = await provider.look(submission, task)
        assert [item.code for item in items] == ["provider_unavailable"]
        [call] = self.journal(simulator)
        assert call["billed"] == 0

    @pytest.mark.parametrize(("status", "refusal"), [(429, Throttled), (500, Unavailable), (503, Unavailable)])
    async def test_who_cannot_be_asked_to_stop_now_is_asked_again(self, session, simulator, status, refusal):
        """Once is not for ever: the task would go on, and be paid."""
        submission = self.submission("[[sim:latency=100]]")
        task = await self.make(session, simulator.url + self.path).submit(submission)
        async with answering(status, b"{}") as url:
            stopping = self.make(session, url).cancel(submission, task)
            if not self.stops_what_waits:
                assert not await stopping
                return
            with pytest.raises(refusal):
                await stopping

    async def test_what_runs_goes_on_unless_the_provider_can_stop_it(self, provider, simulator):
        submission = self.submission("[[sim:latency=100]]")
        task = await provider.submit(submission)
        steer(simulator, "POST", "clock", {"seconds": 30})
        assert await provider.cancel(submission, task) == self.stops_what_runs
        steer(simulator, "POST", "clock", {"seconds": 100})
        [item] = await provider.look(submission, task)
        assert isinstance(item, Delivered) != self.stops_what_runs

    async def test_what_is_done_is_kept(self, provider):
        submission = self.submission()
        task = await provider.submit(submission)
        assert not await provider.cancel(submission, task)
        [item] = await provider.look(submission, task)
        assert isinstance(item, Delivered)
        assert not await provider.cancel(submission, Task("cgt-unknown"))

    async def test_a_task_whose_answer_was_lost_is_found(self, provider, simulator):
        submission = self.submission("[[sim:lost]]", reference=uuid4())
        with pytest.raises(Unknown):
            await provider.submit(submission)
        if not self.finds:
            with pytest.raises(Unknown):
                await provider.find(submission)
            return
        task = await provider.find(submission)
        assert task is not None
        [item] = await provider.look(submission, task)
        assert isinstance(item, Delivered)
        [call] = self.journal(simulator)
        assert call["billed"] == 1

    async def test_what_never_arrived_is_surely_not_there(self, provider):
        submission = self.submission(reference=uuid4())
        if not self.finds:
            with pytest.raises(Unknown):
                await provider.find(submission)
            return
        assert await provider.find(submission) is None

    async def test_finding_is_tried_again_when_it_fails(self, session):
        for status, body in ((500, b""), (200, b"<html>"), (429, b"{}")):
            async with answering(status, body) as url:
                with pytest.raises((Unavailable, Throttled) if self.finds else Unknown):
                    await self.make(session, url).find(self.submission())
