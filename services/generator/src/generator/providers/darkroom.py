"""Darkroom itself: films of still pictures and sound, and the sound of films, made in a process of their own. Nothing
is paid for them."""

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

import aiohttp
import structlog

from contracts.facts import Kind
from generator.composition import extraction
from generator.composition.__main__ import UNUSABLE
from generator.composition.folder import folder, remove_abandoned
from generator.composition.plan import FILM, LEAST_SIDE, MAX_PICTURES, MOST_SIDE, Plan, Quality
from generator.providers import http
from generator.providers.given import content_of
from generator.providers.interface import Delivered, Invalid, Item, Submission, Unavailable

NAME = "darkroom"
FILMS_AT_ONCE = 1
"""Of one process: each takes all the processors that it finds, and about 300 MB."""
MAX_COMPLAINT_BYTES = 2000

log = structlog.get_logger()


class Darkroom:
    """The composition behind the generator's interface."""

    name = NAME

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._room = asyncio.Semaphore(FILMS_AT_ONCE)

    async def submit(self, submission: Submission) -> Sequence[Item]:
        try:
            async with asyncio.timeout(submission.timeout_seconds), self._room:
                await asyncio.to_thread(remove_abandoned)
                with folder() as (place, lock):
                    make = self._sound if submission.kind is Kind.SPEECH else self._film
                    return [await make(submission, place, lock)]
        except OSError as error:  # a full disk, and the time being over: it may be tried again
            log.warning("film.not_made", error=repr(error))
            raise Unavailable from error

    async def _film(self, submission: Submission, place: Path, lock: int) -> Delivered:
        plan = await self._lay_out(submission, place)
        await asyncio.to_thread(plan.write, place)
        await _run("film", place, lock)
        return Delivered(content=await asyncio.to_thread((place / FILM).read_bytes), mime_type="video/mp4")

    async def _sound(self, submission: Submission, place: Path, lock: int) -> Delivered:
        film = http.only(submission, "video")
        if film is None:
            raise Invalid("A sound is taken out of a film.")
        await asyncio.to_thread((place / extraction.FILM).write_bytes, await content_of(self._session, film))
        await _run("sound", place, lock)
        content = await asyncio.to_thread((place / extraction.SOUND).read_bytes)
        return Delivered(content=content, mime_type="audio/mpeg")

    async def _lay_out(self, submission: Submission, place: Path) -> Plan:
        """Puts what the film is made of into the folder. Raises Invalid, Unreadable."""
        stills = [given for given in submission.given if given.role in {"image", "first_frame"}]
        sound, size = http.only(submission, "audio"), http.pixels(submission.size)
        if sound is None or size is None or not 1 <= len(stills) <= MAX_PICTURES:
            raise Invalid(f"A film is made of 1 to {MAX_PICTURES} pictures and a sound.")
        if any(side % 2 or not LEAST_SIDE <= side <= MOST_SIDE for side in size):
            raise Invalid(f"A film has {LEAST_SIDE} to {MOST_SIDE} pixels each way, in twos.")
        names = {f"picture-{number}": still for number, still in enumerate(stills)}
        for name, given in {**names, "sound": sound}.items():
            await asyncio.to_thread((place / name).write_bytes, await content_of(self._session, given))
        wished = submission.options.get("quality")
        width, height = size
        return Plan(
            width=width,
            height=height,
            pictures=tuple(names),
            sound="sound",
            script=submission.prompt if submission.options.get("captions") is True else None,
            quality=next((each for each in get_args(Quality) if each == wished), "standard"),
        )


async def _run(work: str, place: Path, lock: int) -> None:
    """Runs the process, without our environment: what it decodes comes from strangers. It holds the folder's lock as we
    do, and ends when the pipe to it closes, also where we are killed. Raises Invalid, Unavailable."""
    with ExitStack() as ends:
        theirs, ours = os.pipe()
        ends.callback(os.close, ours)
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-m", "generator.composition", place, work),
                env={"PATH": os.environ.get("PATH", "")},
                stdin=theirs,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                pass_fds=(lock,),
            )
        finally:
            os.close(theirs)
        try:
            said, complaint = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode == UNUSABLE:
        raise Invalid(f"The {work} cannot be made: {said.decode(errors='replace')}.")
    if process.returncode:
        words = complaint[-MAX_COMPLAINT_BYTES:].decode(errors="replace")
        log.error("film.broken", returncode=process.returncode, complaint=words)
        raise Unavailable
