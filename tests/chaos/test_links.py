"""Everything at once, by a seed: kills, pauses, bad links, a wiped broker, deleted consumers and streams, under load.
Then heal, quiesce, audit. `make chaos` does it for ten minutes, one seed after another; a seed that fails is kept."""

import asyncio
import contextlib
import json
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from bench.stack import running
from darkroom.embedded.ports import free_port
from darkroom.stack import STACK_FILE
from darkroom.supervisor.ports import S3_COMPANION_OFFSET
from tests.chaos.conftest import Broken
from tests.chaos.load import accepted_under_load, all_ended
from tests.chaos.nemesis import Nemesis
from tests.chaos.proxy import Link
from tests.whole.conftest import BRISK, User

SECONDS = float(os.environ.get("CHAOS_SECONDS", "20"))
SEED = int(os.environ.get("CHAOS_SEED", "41"))
S3 = bool(os.environ.get("CHAOS_S3"))
"""Whether media are kept in a real S3, whose link is one of those; the suite keeps them in files."""
LINKED = ("nats", "postgres", "simulator", *(["s3"] if S3 else []))
KEPT = Path(__file__).with_name("kept_seeds.txt")
START_SECONDS = 150

pytestmark = [pytest.mark.whole, pytest.mark.timeout(SECONDS + 400)]


@pytest.fixture(scope="module")
def loop_of_links() -> Iterator[asyncio.AbstractEventLoop]:
    """The links' own: a stack that starts needs them while the tests' loop waits for it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def target_of(name: str) -> int:
    return free_port(companion_offset=S3_COMPANION_OFFSET) if name == "s3" else free_port()


@pytest.fixture(scope="module")
def links(loop_of_links: asyncio.AbstractEventLoop) -> Iterator[list[Link]]:
    links = [Link(name, free_port(), target_of(name)) for name in LINKED]
    for link in links:
        asyncio.run_coroutine_threadsafe(link.start(), loop_of_links).result(5)
    yield links
    for link in links:
        asyncio.run_coroutine_threadsafe(link.stop(), loop_of_links).result(5)


@pytest.fixture(scope="module")
def darkroom(tmp_path_factory: pytest.TempPathFactory, links: list[Link]) -> Iterator[Broken]:
    data = tmp_path_factory.mktemp("stack")
    # As if it had run before: whatever has a proxy listens where the proxy leads to.
    (data / STACK_FILE).write_text(json.dumps({"ports": {link.name: link.target for link in links}}))
    environment = {
        **BRISK,
        "CHAOS_LINKS": ",".join(f"{link.target}={link.port}" for link in links),
        "PYTHONPATH": str(Path(__file__).parent / "linked"),
    }
    with running(data, s3=S3, **environment) as stack:
        broken = Broken(stack, data)
        yield broken


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=30)) as opened:
        yield opened


@contextlib.contextmanager
def keeping(seed: int) -> Iterator[None]:
    """A seed that failed is written down."""
    try:
        yield
    except BaseException:
        KEPT.write_text("".join(f"{known}\n" for known in sorted({*map(int, KEPT.read_text().split()), seed})))
        raise


async def test_a_minute_of_everything_and_nothing_is_lost(
    darkroom: Broken, links: list[Link], new_user: Callable[[], User], session: aiohttp.ClientSession
) -> None:
    """P1, P2, P4, P5, P8, P9; F5–F8, F26, F27, F37."""
    assert all(link.connections > 0 for link in links), "a link that nobody uses proves nothing"
    with keeping(SEED):
        nemesis = Nemesis(darkroom, links, SEED)
        load = asyncio.create_task(accepted_under_load(new_user, SECONDS, every_seconds=0.25))
        await nemesis.rage(SECONDS)
        await nemesis.heal()
        accepted = await load
        await darkroom.ready(session)
        ended = await all_ended(accepted)
        await asyncio.to_thread(darkroom.audit)
        counted = Counter(generation["status"] for generation in ended)
        summary = {"seed": SEED, "links": list(LINKED), "accepted": len(accepted), "ended": len(ended), **counted}
        print(json.dumps(summary), *nemesis.done, sep="\n")
        (darkroom.data / "chaos.json").write_text(json.dumps({**summary, "done": nemesis.done}))
        assert len(accepted) > SECONDS / 4, "a load that is refused proves nothing"
        assert len(ended) == len(accepted)
