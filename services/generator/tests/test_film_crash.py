"""Generator processes that are killed at every arrow of films that they speak and make: no speech is silently paid
twice, the film ends, and neither a process nor a file of it is left.
`tests/proof/film_crash.py` crosses each of them twenty times."""

import asyncio
import os
import tempfile
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from contracts.facts import Input
from generator.claims import Claims
from generator.providers import darkroom

from .stage import ended, until
from .test_composition import picture
from .test_spoken_films import VOICE, ask_avatar, film_of, steps

TIMES = int(os.environ.get("FILM_CRASH_TIMES", "2"))
"""At each arrow."""
CANCELLED = 2
"""So many more are cancelled while nobody works on them."""
FILM_SECONDS = 30 + 15 * TIMES
"""All of them are made within that, however busy the machine is: whoever makes a film lets everybody else go first."""
LEASE_SECONDS = 1.1
"""A little more than what the dead leave behind."""
MAYBE_SPOKEN = (0, 1, "openai", "speech", "unknown")
SPOKEN_AGAIN = (0, 2, "openai", "speech", "rendered")

pytestmark = [pytest.mark.connected, pytest.mark.timeout(240 + 4 * FILM_SECONDS)]


def shown(number, state):
    return (1, number, darkroom.NAME, None, state)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Where films are made, by those who are killed and by those who go on."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.fixture
async def ask_films(process):
    await Claims(process.broker).put("still", picture(64, 64))
    still = Input(role="image", claim="still", mime_type="image/png")
    deadline_at = datetime.now(UTC) + timedelta(seconds=240 + 4 * FILM_SECONDS)
    return lambda: [
        ask_avatar(still, size="64x64").model_copy(update={"deadline_at": deadline_at})
        for _ in range(TIMES + CANCELLED)
    ]


def composing(folders):
    """The processes that make films there."""
    found = (process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"]))
    return [command for command in found if any(str(folders) in argument for argument in command)]


def spoken(simulator, requests):
    """How often each was paid for."""
    calls = [simulator.calls(each) for each in requests]
    assert {(call["model"], call["billed"]) for made in calls for call in made} <= {(VOICE, 1)}
    return {len(made) for made in calls}


async def test_f13_f14_killed_while_it_is_spoken_begun_and_composed(process, simulator, kill, ask_films, folders):
    """P11. A speech of which nobody knows whether it was paid is the model's policy's; once it is recorded, never."""
    asked = ask_films()
    await kill(accepted=asked)
    assert spoken(simulator, asked) == {1}
    for each in asked:
        assert await steps(process, each) == [(0, 1, "openai", "speech", "intent")]
    await asyncio.sleep(LEASE_SECONDS)
    await kill(begun=asked)
    lost = [MAYBE_SPOKEN, SPOKEN_AGAIN]
    for each in asked:
        assert await steps(process, each) == [*lost, shown(1, "intent")]
    assert list(folders.iterdir()) == []
    going, cancelled = asked[:TIMES], asked[TIMES:]
    await process.generator.close([ended(each) for each in cancelled])
    await asyncio.sleep(LEASE_SECONDS)
    await kill(composing=going)
    assert len(list(folders.iterdir())) == TIMES
    await until(lambda: not composing(folders), FILM_SECONDS)
    await asyncio.sleep(LEASE_SECONDS)
    await asyncio.gather(*map(process.generate, asked))
    assert spoken(simulator, asked) == {2}, "the one that may have been paid, and the one that was"
    for each in cancelled:
        assert await steps(process, each) == [*lost, shown(1, "failed")]
        assert await process.rendered_times(each) == 0
    for each in going:
        assert await steps(process, each) == [*lost, shown(1, "failed"), shown(2, "failed"), shown(3, "rendered")]
        assert await process.rendered_times(each) == 1
    assert (await film_of(process, going[-1]))[0] == ("h264", "aac")
    assert list(folders.iterdir()) == [] and not composing(folders)


async def test_f13_f14_killed_before_it_is_spoken_once_it_is_made_and_before_it_is_said(
    process, simulator, kill, ask_films, folders
):
    """P11. Each speech is paid once."""
    asked = ask_films()
    await kill(sent=asked)
    assert spoken(simulator, asked) == {0}
    await asyncio.sleep(LEASE_SECONDS)
    going, cancelled = asked[:TIMES], asked[TIMES:]
    await kill(made=going, begun=cancelled)
    lost = [MAYBE_SPOKEN, SPOKEN_AGAIN]
    for each in asked:
        assert await steps(process, each) == [*lost, shown(1, "intent")]
    await process.generator.close([ended(each) for each in cancelled])
    await asyncio.sleep(LEASE_SECONDS)
    await kill(rendered=going)
    for each in going:
        assert await steps(process, each) == [*lost, shown(1, "failed"), shown(2, "rendered")]
        assert await process.rendered_times(each) == 0
    await asyncio.gather(*map(process.generate, asked))
    assert spoken(simulator, asked) == {1}
    for each in asked:
        assert await process.rendered_times(each) == (each in going)
    assert (await film_of(process, going[0]))[0] == ("h264", "aac")
    assert list(folders.iterdir()) == [] and not composing(folders)
