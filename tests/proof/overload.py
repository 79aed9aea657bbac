"""Five times what the stack can do: it sheds in words, stays small, and is itself again soon after (P20, F28)."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from uuid import uuid4

import aiohttp
import pytest

from bench.stack import running
from tests.whole.conftest import BRISK, Darkroom, User

SECONDS = float(os.environ.get("PROOF_OVERLOAD_SECONDS", "300"))
AT_ONCE = 16
"""That many callers, each asking again as soon as it is answered, find out what the stack can do."""
CALIBRATION_SECONDS = 5.0
TIMES = 5
RECOVERY_SECONDS = 60.0
MOST_GROWTH_MEGABYTES = 300
MOST_UNANSWERED = 2000
BODY = {"kind": "image", "prompt": "Too much", "size": "512x512"}
pytestmark = [pytest.mark.whole, pytest.mark.timeout(SECONDS + 400)]


@pytest.fixture(scope="module")
def darkroom(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Darkroom]:
    data = tmp_path_factory.mktemp("stack")
    with running(data, **BRISK) as stack:
        yield Darkroom(stack, data)


@pytest.fixture
async def session() -> Iterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60), connector=connector) as opened:
        yield opened


@pytest.fixture
def new_user(darkroom: Darkroom, session: aiohttp.ClientSession) -> Callable[[], User]:
    return lambda: User(darkroom, session, uuid4())


async def per_second(new_user: Callable[[], User]) -> float:
    """How many are accepted a second where each caller waits for its answer."""
    accepted, give_up_at = 0, time.monotonic() + CALIBRATION_SECONDS

    async def call() -> None:
        nonlocal accepted
        while time.monotonic() < give_up_at:
            accepted += (await new_user().call("POST", "/v1/generations", json=BODY))[0] == 202

    await asyncio.gather(*(call() for _ in range(AT_ONCE)))
    return accepted / CALIBRATION_SECONDS


async def test_f28_p20_five_times_what_it_can_do_is_shed_in_words(
    darkroom: Darkroom, new_user: Callable[[], User]
) -> None:
    await per_second(new_user)  # pools open, caches fill
    capacity = await per_second(new_user)
    before = darkroom.stack.memory_megabytes()
    statuses: Counter[int] = Counter()
    without_words: list[dict[str, str]] = []
    seconds: list[float] = []
    unanswered = 0

    async def ask() -> None:
        nonlocal unanswered
        unanswered += 1
        began = time.monotonic()
        try:
            status, _, headers = await new_user().call("POST", "/v1/generations", json=BODY)
        except (aiohttp.ClientError, TimeoutError, OSError):
            status, headers = 0, {}
        unanswered -= 1
        statuses[status] += 1
        if status == 202:
            seconds.append(time.monotonic() - began)
        elif status in {429, 503} and "Retry-After" not in headers:
            without_words.append(headers)

    asking: set[asyncio.Task[None]] = set()
    began, sent = time.monotonic(), 0
    while (passed := time.monotonic() - began) < SECONDS:
        # By the clock and not by the answers: who waits for answers never asks too much.
        while sent < passed * capacity * TIMES and unanswered < MOST_UNANSWERED:
            asking.add(asyncio.create_task(ask()))
            sent += 1
        asking = {task for task in asking if not task.done()}
        await asyncio.sleep(0.01)
    await asyncio.gather(*asking)
    healed_at = time.monotonic()
    user = new_user()
    while (await user.call("POST", "/v1/generations", json=BODY))[0] != 202:
        await asyncio.sleep(1)
    recovered = time.monotonic() - healed_at
    grown = {part: used - before.get(part, 0) for part, used in darkroom.stack.memory_megabytes().items()}
    p99 = sorted(seconds)[int(len(seconds) * 0.99)] if seconds else 0.0
    print(f"overload: {capacity:.0f}/s taken, {sent} asked in {SECONDS:.0f} s, answers {dict(statuses)}")
    print(f"p99 of the accepted {p99:.2f} s, itself again after {recovered:.1f} s, grown by megabytes {grown}")
    assert set(statuses) <= {202, 429, 503}
    assert without_words == []
    assert recovered < RECOVERY_SECONDS
    assert max(grown.values()) < MOST_GROWTH_MEGABYTES
    assert seconds
