"""A generator process that kills itself once each of its generations is at a point of the way.

`python victim.py <point>=<request>…`, addresses in the environment. `sent`: just before the call leaves; `accepted`:
the provider has answered, and nothing is recorded.
"""

import asyncio
import importlib.util
import os
import signal
import sys
from pathlib import Path

from contracts.facts import Request

_spec = importlib.util.spec_from_file_location("stage", Path(__file__).with_name("stage.py"))
assert _spec is not None and _spec.loader is not None
stage = importlib.util.module_from_spec(_spec)
sys.modules["stage"] = stage
_spec.loader.exec_module(stage)


async def main(arguments: list[list[str]]) -> None:
    requests = [Request.model_validate_json(text) for _, text in arguments]
    points = {request.generation_id: point for request, (point, _) in zip(requests, arguments, strict=True)}
    process = await stage.Process.start(
        os.environ["DATABASE"], os.environ["BROKER"], os.environ["SIMULATOR"], lease_seconds=1.0
    )
    submit = process.submitter.submit
    all_there = asyncio.Barrier(len(requests))

    async def die(assignment, attempt):
        if points[assignment.request.generation_id] == "accepted":
            await submit(assignment, attempt)
        await all_there.wait()
        os.kill(os.getpid(), signal.SIGKILL)

    process.submitter.submit = die
    await asyncio.gather(*map(process.generate, requests))


asyncio.run(main([argument.split("=", 1) for argument in sys.argv[1:]]))
