"""Between receiving bytes and keeping them: what they are, without what is nobody's business, as large as asked for.

The ordinary picture costs a look at it and nothing more: it is kept byte for byte, and so is a video that is already
what was asked for. Whatever has to be made anew is made in the workshop.
"""

import asyncio
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import file_digest, sha256
from io import BytesIO
from typing import IO, TYPE_CHECKING, TypeVar

from contracts.facts import Kind, Request
from storage import pictures
from storage.beginnings import HEAD_BYTES, demuxer_of, is_heic, is_picture, is_redrawn
from storage.downloads import Body
from storage.metadata import Parts, join, parts
from storage.nameless import nameless, path_of
from storage.pictures import MAX_PIXELS, Picture, Unusable
from storage.workshop import RECORDING_CPU_SECONDS, Place, Workshop

if TYPE_CHECKING:
    from storage.recordings import Recording

DECODERS = 2
"""Threads in which pictures are checked."""
TOLERANCE_SECONDS = 0.05
"""A video is not made anew for one frame too many."""
T = TypeVar("T")
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Bytes to keep, and what they are; `provider_size` where the provider's were of another size."""

    body: Body
    mime_type: str
    width: int | None
    height: int | None
    seconds: float | None = None
    bitrate: int | None = None
    blurhash: str | None = None
    provider_size: str | None = None


class Unsupported(Unusable):
    """Nothing that is kept here begins so."""


class Preparation:
    """Looks at what came, and changes what may not stay as it is."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._decoders = ThreadPoolExecutor(DECODERS, thread_name_prefix="decoder")

    async def prepare(self, request: Request, body: Body) -> Prepared:
        """What is to be kept of the bytes that came for a request; the caller closes both bodies.

        Raises:
            storage.pictures.Unusable: nothing, for they are not what was asked for.
            OSError: the disk is full or gone.
        """
        size = asked_size(request.size)
        if request.kind is Kind.IMAGE:
            return await self._picture(body, size)
        return await self._recording(request, body, size)

    async def frames(self, body: Body) -> list[bytes]:
        """A few small pictures of a film that is kept. Raises storage.pictures.Unusable."""
        async with self._workshop.place() as place:
            return await place.do(_frames, path_of(body.content), cpu_seconds=RECORDING_CPU_SECONDS)

    async def clean(self, body: Body) -> Prepared:
        """What is to be kept of what a user uploaded: made anew, so that nothing else is in it; as `prepare`.

        The body is in a file.
        """
        head = await asyncio.to_thread(_head, body.content)
        if is_heic(head):
            raise _heic()
        if not is_picture(head) and not is_redrawn(head) and demuxer_of(head) is None:
            raise Unsupported("the content is no picture, video or sound that is kept here")
        async with self._workshop.place() as place:
            if demuxer_of(head) is not None:
                return await _clean_recording(place, body)
            return await _clean_picture(place, body, is_strict=is_picture(head))

    def close(self) -> None:
        self._decoders.shutdown(wait=False)

    async def _picture(self, body: Body, size: tuple[int, int] | None) -> Prepared:
        head = _head(body.content)
        if is_heic(head):
            raise _heic()
        if is_redrawn(head):
            async with self._workshop.place() as place:
                original = await asyncio.to_thread(_read, body.content)
                body = _as_body(await place.do(pictures.redraw, original))
        is_quick = pictures.is_quick(body.content, body.size)
        picture, kept = await self._do(is_quick, _look, body)
        found = Prepared(body, picture.mime_type, picture.width, picture.height)
        if size not in {None, (picture.width, picture.height)}:
            drawn = await self._redraw(found, size)
            return replace(drawn, provider_size=f"{picture.width}x{picture.height}")
        if not picture.is_upright:
            return await self._redraw(found, None)
        if kept != ((0, body.size),):
            return replace(found, body=await self._do(is_quick, _joined, body, kept, picture.mime_type))
        return found

    async def _do(self, is_quick: bool, function: Callable[..., T], *arguments: object) -> T:
        """Here, where that takes no longer than to wake a thread for it."""
        if is_quick:
            return function(*arguments)
        return await asyncio.get_running_loop().run_in_executor(self._decoders, function, *arguments)

    async def _redraw(self, found: Prepared, size: tuple[int, int] | None) -> Prepared:
        async with self._workshop.place() as place:
            original = await asyncio.to_thread(_read, found.body.content)
            content = await place.do(pictures.redraw, original, size)
            blurhash = await place.do(pictures.blurhash, content)
        width, height = size or (found.width, found.height)
        return replace(found, body=_as_body(content), width=width, height=height, blurhash=blurhash)

    async def _recording(self, request: Request, body: Body, size: tuple[int, int] | None) -> Prepared:
        async with self._workshop.place() as place:
            recording = await _inspect(place, body.content, request.kind)
            if request.kind is not Kind.VIDEO or _is_exact(recording, size, request.seconds):
                return _recorded(body, recording)
            target = nameless()  # whoever asked closes it
            try:
                await place.do(
                    _make_exact,
                    path_of(body.content),
                    path_of(target),
                    size,
                    request.seconds,
                    cpu_seconds=RECORDING_CPU_SECONDS,
                )
                exact = await _inspect(place, target, request.kind)
                made = await asyncio.to_thread(_hashed, target)
            except BaseException:
                target.close()
                raise
        was = f"{recording.width}x{recording.height}"
        is_other = (recording.width, recording.height) != (exact.width, exact.height)
        return replace(_recorded(made, exact), provider_size=was if is_other else None)


async def _clean_picture(place: Place, body: Body, *, is_strict: bool) -> Prepared:
    original = await asyncio.to_thread(_read, body.content)
    if is_strict:
        await place.do(_inspect_picture, original)  # stricter than a decoder, which would mend what is missing
    content = await place.do(pictures.redraw, original)
    picture = await place.do(_inspect_picture, content)
    blurhash = await place.do(pictures.blurhash, content)
    return Prepared(_as_body(content), picture.mime_type, picture.width, picture.height, blurhash=blurhash)


async def _clean_recording(place: Place, body: Body) -> Prepared:
    found = await _inspect(place, body.content, None)
    target = nameless()  # whoever asked closes it
    try:
        arguments = path_of(body.content), path_of(target), found.mime_type
        await place.do(_copy_streams, *arguments, cpu_seconds=RECORDING_CPU_SECONDS)
        copied = await _inspect(place, target, None)
        return _recorded(await asyncio.to_thread(_hashed, target), copied)
    except BaseException:
        target.close()
        raise


def _heic() -> Unsupported:
    return Unsupported("HEIC pictures are not taken here: send them as JPEG, PNG or WebP")


def asked_size(size: str | None) -> tuple[int, int] | None:
    """Width and height in pixels; None where nothing exact was asked for, as with `2K` or `adaptive`."""
    found = _SIZE.fullmatch(size or "")
    if found is None:
        return None
    width, height = int(found[1]), int(found[2])
    return (width, height) if 0 < width * height <= MAX_PIXELS else None


def _look(body: Body) -> tuple[Picture, Parts]:
    picture = pictures.inspect(body.content)
    return picture, parts(body.content, body.size, picture.mime_type)


def _is_exact(recording: "Recording", size: tuple[int, int] | None, seconds: int | None) -> bool:
    return size in {None, (recording.width, recording.height)} and (
        seconds is None or recording.seconds <= seconds + TOLERANCE_SECONDS
    )


def _recorded(body: Body, recording: "Recording") -> Prepared:
    return Prepared(body, recording.mime_type, recording.width, recording.height, recording.seconds, recording.bitrate)


async def _inspect(place: Place, content: IO[bytes], kind: Kind | None) -> "Recording":
    return await place.do(_inspect_recording, path_of(content), kind, cpu_seconds=RECORDING_CPU_SECONDS)


def _inspect_picture(content: bytes) -> Picture:
    return pictures.inspect(BytesIO(content))


def _copy_streams(source: str, target: str, mime_type: str) -> None:
    from storage.films import copy_streams

    copy_streams(source, target, mime_type)


def _inspect_recording(path: str, kind: Kind | None) -> "Recording":
    from storage.recordings import inspect  # FFmpeg is loaded by the processes that need it

    return inspect(path, kind)


def _frames(path: str) -> list[bytes]:
    from storage.frames import frames

    return frames(path)


def _make_exact(source: str, target: str, size: tuple[int, int] | None, seconds: int | None) -> None:
    from storage.films import make_exact

    make_exact(source, target, size, seconds)


def _head(content: IO[bytes]) -> bytes:
    content.seek(0)
    return content.read(HEAD_BYTES)


def _read(content: IO[bytes]) -> bytes:
    content.seek(0)
    return content.read()


def _joined(body: Body, kept: Parts, mime_type: str) -> Body:
    return _as_body(join(body.content, kept, mime_type))


def _as_body(content: bytes) -> Body:
    return Body(BytesIO(content), len(content), sha256(content).hexdigest())


def _hashed(content: IO[bytes]) -> Body:
    content.seek(0)
    digest = file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]
    return Body(content, os.fstat(content.fileno()).st_size, digest)
