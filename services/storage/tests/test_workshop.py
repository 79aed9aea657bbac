"""Files of strangers are opened in processes of their own, which are bounded and may die."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from storage.nameless import nameless, path_of
from storage.pictures import Unusable, shrink
from storage.workshop import Workshop

from .samples import picture


@pytest.mark.parametrize(
    ("limits", "pictures"),
    # A fast machine makes one within the second that a process may be given at least.
    [({"memory_bytes": 200 << 20}, 1), ({"cpu_seconds": 1}, 20)],
)
async def test_a_picture_that_takes_too_much_ends_alone(limits: dict[str, int], pictures: int) -> None:
    """P29: a child process is bounded in memory and time; the next picture is made by another."""
    workshop = Workshop(**limits)
    async with workshop.place() as place:
        with pytest.raises(Unusable):
            await place.do(shrunk, picture(5_000, 4_000, "JPEG"), pictures)
        assert (await place.do(shrink, picture(300, 300), 256)).startswith(b"RIFF")
    workshop.close()


def shrunk(content: bytes, times: int) -> None:
    for _ in range(times):
        shrink(content, 4_000)


async def test_a_picture_that_kills_its_process_ends_alone() -> None:
    """P29, F39: the process that died is replaced, and the one beside it does not notice."""
    workshop = Workshop()
    async with workshop.place() as killed, workshop.place() as spared:
        beside = asyncio.create_task(spared.do(time.sleep, 1))
        with pytest.raises(Unusable, match="too much"):
            await killed.do(signal.raise_signal, signal.SIGKILL)
        await beside
        assert (await killed.do(shrink, picture(300, 300), 256)).startswith(b"RIFF")
    workshop.close()


async def test_a_process_that_dies_while_it_has_nothing_to_do_is_replaced() -> None:
    """P29, F39: as by the kernel when memory is short; what is brought next is not refused for it, nor later."""
    workshop = Workshop()
    for _ in range(2):
        async with workshop.place() as place:
            os.kill(await place.do(os.getpid), signal.SIGKILL)
            pool = place.process._pool
        while pool is not None and not pool._broken:  # which a thread of its own finds out
            await asyncio.sleep(0.01)
        async with workshop.place() as place:
            assert (await place.do(shrink, picture(300, 300), 256)).startswith(b"RIFF")
    workshop.close()


async def test_work_that_is_given_up_writes_into_nobody_elses_file() -> None:
    """Files without a name are known by their numbers, which are given again."""
    workshop = Workshop()
    theirs, made = nameless(), nameless()
    theirs.write(b"of one user")
    theirs.flush()

    async def work() -> None:
        async with workshop.place() as place:
            await place.do(shutil.copyfile, path_of(theirs), path_of(made))

    working = asyncio.create_task(work())
    await asyncio.sleep(0.05)  # its process is being started
    working.cancel()
    await asyncio.wait([working])
    number = path_of(made)
    theirs.close()
    made.close()
    with contextlib.ExitStack() as files:
        others = [files.enter_context(nameless())]
        while path_of(others[-1]) != number:  # numbers are given from the lowest
            others.append(files.enter_context(nameless()))
        for index, file in enumerate(others):
            file.write(b"of user %d" % index)
            file.flush()
        async with workshop.place() as place:
            assert (await place.do(shrink, picture(300, 300), 256)).startswith(b"RIFF")
        await asyncio.sleep(1)
        for index, file in enumerate(others):
            file.seek(0)
            assert file.read() == b"of user %d" % index
    workshop.close()


async def test_work_that_does_not_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """P29: by the clock, too, for whatever waits needs no CPU."""
    monkeypatch.setattr("storage.workshop.START_SECONDS", 0)
    workshop = Workshop(cpu_seconds=1)
    async with workshop.place() as place:
        with pytest.raises(Unusable, match="too much"):
            await place.do(time.sleep, 60)
    workshop.close()


KILLED = """
import asyncio, os, signal
from storage.workshop import Workshop

async def main():
    async with Workshop().place() as place:
        print(await place.do(os.getpid), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    asyncio.run(main())
"""


async def test_whoever_works_for_a_process_that_was_killed_ends_with_it(tmp_path: Path) -> None:
    program = tmp_path / "killed.py"
    program.write_text(KILLED)
    killed = await asyncio.create_subprocess_exec(sys.executable, program, stdout=asyncio.subprocess.PIPE)
    said, _ = await asyncio.wait_for(killed.communicate(), 30)
    worker, give_up_at = int(said), time.monotonic() + 20
    while psutil.pid_exists(worker) and psutil.Process(worker).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < give_up_at, "it waits for ever"
        await asyncio.sleep(0.05)
