"""A generator process that kills itself once each of its generations is at a point of the way.

`python victim.py <point>=<request>…`, addresses in the environment. `sent`: just before the call leaves; `accepted`:
the provider has answered, and nothing is recorded. Of a task: `submitted`: it is recorded, and nothing else happened;
`looked`: the provider says that it is done, and nothing is recorded; `rendered`: that is recorded, and nobody was told.
Of a film that we make ourselves: `begun`: its speech is recorded, and so is that the film begins; `composing`: the
processes that make the films of all of them run; `made`: the film is there, and nothing is recorded.
"""

import asyncio
import importlib.util
import os
import signal
import sys
from pathlib import Path

from contracts.facts import Request
from generator.attempts import Attempt
from generator.providers import darkroom

_spec = importlib.util.spec_from_file_location("stage", Path(__file__).with_name("stage.py"))
assert _spec is not None and _spec.loader is not None
stage = importlib.util.module_from_spec(_spec)
sys.modules["stage"] = stage
_spec.loader.exec_module(stage)


async def main(arguments: list[list[str]]) -> None:
    requests = [Request.model_validate_json(text) for _, text in arguments]
    darkroom.FILMS_AT_ONCE = len(requests)
    points = {request.generation_id: point for request, (point, _) in zip(requests, arguments, strict=True)}
    process = await stage.Process.start(
        os.environ["DATABASE"], os.environ["BROKER"], os.environ["SIMULATOR"], lease_seconds=1.0
    )
    submit, look = process.submitter.submit, process.submitter.look
    follow, rendered = process.follower.follow, process.announcer.rendered
    start = asyncio.create_subprocess_exec
    all_there = asyncio.Barrier(len(requests))

    async def die():
        await all_there.wait()
        os.kill(os.getpid(), signal.SIGKILL)

    async def submit_or_die(assignment, attempt):
        point = points[assignment.request.generation_id]
        is_film = attempt.provider == darkroom.NAME
        if point == "sent" or (point == "begun" and is_film):
            await die()
        found = await submit(assignment, attempt)
        if point == "accepted" or (point == "made" and is_film):
            await die()
        return found

    async def start_or_die(*command, **options):
        child = await start(*command, **options)
        if "composing" in points.values():
            await die()
        return child

    def follow_or_die(course):
        if points[course.generation_id] == "submitted":
            process.dying.append(asyncio.create_task(die()))
        else:
            follow(course)

    async def look_or_die(assignment, attempt):
        found = await look(assignment, attempt)
        if points[assignment.request.generation_id] == "looked" and isinstance(found, Attempt):
            await die()
        return found

    async def rendered_or_die(rendering, traceparent):
        if points[rendering.request.generation_id] == "rendered":
            await die()
        await rendered(rendering, traceparent)

    process.dying = []
    process.submitter.submit, process.submitter.look = submit_or_die, look_or_die
    process.follower.follow, process.announcer.rendered = follow_or_die, rendered_or_die
    asyncio.create_subprocess_exec = start_or_die
    process.follower.start(process.leases.go_on)
    await asyncio.gather(*map(process.generate, requests))
    await asyncio.sleep(60)


asyncio.run(main([argument.split("=", 1) for argument in sys.argv[1:]]))
