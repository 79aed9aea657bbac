"""Darkroom itself: films of still pictures and sound, made in a process of their own. Nothing is paid for them."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import aiohttp
import structlog

from generator.composition.__main__ import UNUSABLE
from generator.composition.plan import FILM, MAX_PICTURES, PLAN, Plan, Quality
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
                with tempfile.TemporaryDirectory(prefix="darkroom-") as folder:
                    plan = await self._lay_out(submission, Path(folder))
                    await asyncio.to_thread((Path(folder) / PLAN).write_text, plan.model_dump_json())
                    await _compose(folder)
                    content = await asyncio.to_thread((Path(folder) / FILM).read_bytes)
        except OSError as error:  # a full disk, and the time being over: it may be tried again
            log.warning("film.not_made", error=repr(error))
            raise Unavailable from error
        return [Delivered(content=content, mime_type="video/mp4")]

    async def _lay_out(self, submission: Submission, folder: Path) -> Plan:
        """Puts what the film is made of into the folder. Raises Invalid, Unavailable."""
        stills = [given for given in submission.given if given.role in {"image", "first_frame"}]
        sound, size = http.first(submission, "audio"), http.pixels(submission.size)
        if sound is None or size is None or not 1 <= len(stills) <= MAX_PICTURES:
            raise Invalid(f"A film is made of 1 to {MAX_PICTURES} pictures and a sound.")
        names = {f"picture-{number}": still for number, still in enumerate(stills)}
        for name, given in {**names, "sound": sound}.items():
            await asyncio.to_thread((folder / name).write_bytes, await content_of(self._session, given))
        quality = submission.options.get("quality")
        width, height = size
        return Plan(
            width=width,
            height=height,
            pictures=tuple(names),
            sound="sound",
            script=submission.prompt if submission.options.get("captions") is True else None,
            quality=quality if quality in get_args(Quality) else "standard",
        )


async def _compose(folder: str) -> None:
    """Runs the process, without our environment: what it decodes comes from strangers. Raises Invalid, Unavailable."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-m", "generator.composition", folder),
        env={"PATH": os.environ.get("PATH", "")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        said, complaint = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode == UNUSABLE:
        raise Invalid(f"The film cannot be made: {said.decode(errors='replace')}.")
    if process.returncode:
        words = complaint[-MAX_COMPLAINT_BYTES:].decode(errors="replace")
        log.error("film.broken", returncode=process.returncode, complaint=words)
        raise Unavailable
