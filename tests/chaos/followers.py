"""`python -m tests.chaos.followers --followers 1000`: gateways are killed under people who follow what they made.

A second gateway runs beside the stack's own. Every follower has an event stream at one of them, and goes on at the
other with `Last-Event-ID` when it breaks off. Pictures are asked for and end meanwhile; then one gateway is killed, and
in the long form the other as well, once the first is back. Nobody may miss an end or be sent back to the start.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp
import psutil

from bench.processes import answering
from bench.stack import running
from darkroom.embedded.ports import free_port
from darkroom.stack import read_stack_file
from darkroom.tokens import make_token

END_SECONDS = 600
AGAIN_SECONDS = 0.1
AWAY_SECONDS = 1.0
"""How long a follower takes to come back at least: what ends meanwhile has to come from the log."""
LATE = 4
"""One of so many stays away until most ends were told to the others."""
FINAL = {"completed", "failed", "declined", "cancelled"}
PROMPT = "Followed, {} [[sim:latency=0.5]]"
AT_ONCE = 32
"""So many ask at a time."""


@dataclass(slots=True)
class Follower:
    """Somebody who follows all that is told to them, at whichever gateway answers."""

    token: str
    replicas: Sequence[str]
    at: int
    """Which of the replicas it prefers now."""
    last: str | None = None
    ended: set[str] = field(default_factory=set)
    """The generations whose end it was told, each by an event or by the first snapshot."""
    resets: int = 0
    came_back: int = 0
    expected: set[str] = field(default_factory=set)
    following: asyncio.Event = field(default_factory=asyncio.Event)
    may_come_back: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def elsewhere(self) -> None:
        self.at = (self.at + 1) % len(self.replicas)

    async def follow(self, session: aiohttp.ClientSession) -> None:
        """Reads, and comes back at the other one wherever the stream ends."""
        while True:
            headers = self.headers | ({"Last-Event-ID": self.last} if self.last else {})
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with session.get(f"{self.replicas[self.at]}/v1/events", headers=headers) as stream:
                    stream.raise_for_status()
                    async for name, data, event_id in events(stream):
                        self._told(name, data)
                        self.last = event_id or self.last
                        self.following.set()
            self.came_back += 1
            self.elsewhere()
            await asyncio.sleep(AWAY_SECONDS)
            await self.may_come_back.wait()

    def _told(self, name: str, data: str) -> None:
        if name == "reset":
            self.resets += 1
        shown = json.loads(data)["items"] if name == "snapshot" else [json.loads(data)] if name == "generation" else []
        self.ended |= {each["id"] for each in shown if each["status"] in FINAL}

    async def ask(self, session: aiohttp.ClientSession, number: int) -> None:
        """Asks for a picture under a key, again until somebody accepts it."""
        headers = self.headers | {"Idempotency-Key": str(uuid4())}
        body = {"kind": "image", "prompt": PROMPT.format(number), "size": "512x512"}
        for turn in range(int(END_SECONDS / AGAIN_SECONDS)):
            url = f"{self.replicas[turn % len(self.replicas)]}/v1/generations"
            with contextlib.suppress(aiohttp.ClientError, OSError):
                async with session.post(url, json=body, headers=headers) as answer:
                    if answer.status in {200, 202}:
                        self.expected.add((await answer.json())["id"])
                        return
            await asyncio.sleep(AGAIN_SECONDS)
        raise AssertionError("nobody accepts anything")


async def events(stream: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, str, str | None]]:
    """Name, data and id of each server-sent event."""
    fields: dict[str, str] = {}
    async for line in stream.content:
        text = line.decode().rstrip("\n")
        if text:
            name, _, value = text.partition(": ")
            fields[name] = value
        elif fields:
            if "event" in fields:
                yield fields["event"], fields["data"], fields.get("id")
            fields = {}


class Gateways:
    """The stack's own gateway, which its supervisor starts again, and one beside it."""

    def __init__(self, data: Path, log: Path) -> None:
        self._data = data
        self._log = log
        self._port = free_port()

    @property
    def urls(self) -> list[str]:
        return [str(read_stack_file(self._data)["url"]), f"http://127.0.0.1:{self._port}"]

    @contextlib.contextmanager
    def running(self) -> Iterator[psutil.Process]:
        """Starts the second with the environment of the first, but for its port."""
        environment = psutil.Process(self._pid()).environ() | {"GATEWAY_PORT": str(self._port)}
        with self._log.open("wb") as log:
            second = subprocess.Popen([sys.executable, "-m", "gateway"], env=environment, stdout=log, stderr=log)
        try:
            yield psutil.Process(second.pid)
        finally:
            second.kill()
            second.wait()

    def kill_first(self) -> None:
        os.kill(self._pid(), signal.SIGKILL)

    def _pid(self) -> int:
        return int(read_stack_file(self._data)["pids"]["gateway"])


async def killed_under(data: Path, log: Path, number: int, pictures: int, *, both: bool) -> list[Follower]:
    """So many followers ask for so many pictures each, on a stack whose data is there; they have heard all at the end.

    Raises:
        AssertionError: somebody has not heard of an end within `END_SECONDS`.
    """
    secret = read_stack_file(data)["jwt_secret"]
    gateways = Gateways(data, log)
    with gateways.running() as second:
        first_url, second_url = gateways.urls
        await answering(f"{second_url}/ready")
        people = [Follower(_token(secret, uuid4()), gateways.urls, index % 2) for index in range(number)]
        for each in people:
            each.may_come_back.set()
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None, sock_connect=30)
        ) as session:
            reading = [asyncio.create_task(each.follow(session)) for each in people]
            await _within(asyncio.gather(*(each.following.wait() for each in people)))
            await _within(_ask_all(session, people, range(1)))
            await _told(people, 1.0)  # everybody has a place in the log to go on from
            asking = asyncio.create_task(_ask_all(session, people, range(1, pictures)))
            late, others = people[::LATE], [each for index, each in enumerate(people) if index % LATE]
            await _told(people, 1.2)
            for each in late:
                each.may_come_back.clear()
            gateways.kill_first()
            await _told(others, 0.6 * pictures)
            for each in late:
                each.may_come_back.set()
            if both:
                await answering(f"{first_url}/ready")
                second.kill()
            await _within(asking)
            await _told(people, pictures)
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)
    return people


async def _ask_all(session: aiohttp.ClientSession, people: Sequence[Follower], numbers: range) -> None:
    waiting = iter([(person, number) for number in numbers for person in people])

    async def some() -> None:
        for person, number in waiting:
            await person.ask(session, number)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


async def _told(people: Sequence[Follower], each: float) -> None:
    """Waits until so many ends were told to each, on average."""

    async def told() -> None:
        while sum(len(person.ended) for person in people) < each * len(people):
            await asyncio.sleep(0.02)

    await _within(told())


async def _within(doing: Awaitable[object]) -> None:
    try:
        await asyncio.wait_for(doing, END_SECONDS)
    except TimeoutError:
        raise AssertionError(f"not after {END_SECONDS} s") from None


def _token(secret: str, user: UUID) -> str:
    return make_token(secret, user, 1, "darkroom")


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the stack is stopped
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--followers", type=int, default=1000)
    parser.add_argument("--pictures", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="darkroom-followers-") as folder, running(Path(folder) / "data"):
        log = Path(folder) / "second.log"
        people = asyncio.run(killed_under(Path(folder) / "data", log, asked.followers, asked.pictures, both=True))
    missed = sum(len(each.expected - each.ended) for each in people)
    came_back = sum(each.came_back for each in people)
    print(
        f"{len(people)} followers, {sum(len(each.expected) for each in people)} ends, {missed} missed, "
        f"{came_back} streams taken up again, {sum(each.resets for each in people)} resets"
    )
    sys.exit(1 if missed or any(each.resets for each in people) else 0)


if __name__ == "__main__":
    main()
