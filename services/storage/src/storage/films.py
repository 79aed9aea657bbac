"""Other videos and pictures made of a video: exactly the size and length that were asked for, a poster, without extras.

To be run in the workshop only; the same guards as in `recordings`.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import av
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.filter import Graph

from storage.pictures import QUALITY, Unusable
from storage.recordings import opened, packets, seen_and_heard, start_of

QUALITY_OF_VIDEO = "18"
"""x264's constant rate factor: hardly to be told from what the provider made."""
SPEED = "veryfast"
_LITTLE_MEMORY = {"bf": "0", "rc-lookahead": "1"}
"""Each picture that the encoder looks ahead is kept whole: ten of 4K were more than everything else together."""
POSTER_SECONDS = 0.5
"""The first frame is black in many a video."""
_TURNS = {
    90: [("transpose", "cclock")],
    -90: [("transpose", "clock")],
    180: [("hflip", ""), ("vflip", "")],
    -180: [("hflip", ""), ("vflip", "")],
}
_FORMATS = {
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "audio/mp4": "ipod",
    "audio/webm": "webm",
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "audio/ogg": "ogg",
    "audio/flac": "flac",
    "audio/aac": "adts",
}
"""How FFmpeg calls what they are written as."""
_OF_THE_DISK = {errno.EIO, errno.ENOSPC}
_UNUSABLE = "the video cannot be brought to the size and length that were asked for"


def make_exact(source: str, target: str, size: tuple[int, int] | None, seconds: int | None) -> None:
    """Writes `target`, an MP4 of exactly that size and at most that length: covered, cut off in the middle, trimmed.

    Raises:
        storage.pictures.Unusable: it cannot be done.
        OSError: the target cannot be written.
    """
    with opened(source) as container, _made(target, "mp4", _UNUSABLE, movflags="faststart") as made:
        _encode(container, made, size, seconds)


def copy_streams(source: str, target: str, mime_type: str) -> None:
    """Writes `target` with the packets of what is seen and heard, and nothing else: no place, no name, no tail.

    Raises:
        storage.pictures.Unusable: it cannot be done.
        OSError: the target cannot be written.
    """
    with opened(source) as container, _made(target, _FORMATS[mime_type], "the recording cannot be copied") as made:
        chosen = [stream for stream in seen_and_heard(container) if stream is not None]
        copies = {stream.index: made.add_stream_from_template(stream) for stream in chosen}
        for copy in copies.values():
            copy.metadata.clear()
        for packet in packets(container, *chosen):
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                made.mux(packet)


def poster(source: str) -> bytes:
    """A frame from the beginning of a video, as WebP, upright and without metadata.

    Raises:
        storage.pictures.Unusable: there is none.
    """
    with opened(source) as container:
        chosen: Any = None
        video, _ = seen_and_heard(container)
        for frame in container.decode(video) if video is not None else ():
            chosen = frame
            if frame.time is not None and frame.time >= POSTER_SECONDS:
                break
        if chosen is None:
            raise Unusable("the video has no picture")
        image = chosen.to_image()
        if chosen.rotation:
            image = image.rotate(chosen.rotation, expand=True)
    output = BytesIO()
    image.save(output, "WEBP", quality=QUALITY)
    return output.getvalue()


@contextmanager
def _made(target: str, format_: str, refusal: str, **options: str) -> Iterator[OutputContainer]:
    """What is being written. The source was read whole before: an error of a disk is of the target's."""
    try:
        with av.open(target, "w", format=format_, options=options) as made:
            yield made
    except (FFmpegError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise OSError(error.errno, str(error)) from error
        raise Unusable(refusal) from error


def _encode(
    container: InputContainer, made: OutputContainer, size: tuple[int, int] | None, seconds: int | None
) -> None:
    video, sound = seen_and_heard(container)
    streams = [stream for stream in (video, sound) if stream is not None]
    start = min(map(start_of, streams))  # of both: they stay together
    covered = _Covered(video, size)
    picture_out: Any = None
    sound_out: Any = made.add_stream("aac", rate=sound.rate, layout=sound.layout) if sound is not None else None
    ready: list[Any] = []
    frame: Any
    for packet in container.demux(*streams):
        for frame in packet.decode():
            if frame.pts is None or (seconds is not None and _time(frame, video) >= seconds):
                continue
            pts = frame.pts - round(start / frame.time_base)
            if packet.stream is video:
                for picture in covered.of(frame):
                    if picture_out is None:
                        picture_out = _picture_stream(made, video, picture)
                    picture.pts = pts
                    ready += picture_out.encode(picture)
            else:
                frame.pts = pts
                ready += sound_out.encode(frame)
        if picture_out is not None:  # to what is being written no stream can be added: sound before it waits
            made.mux(ready)
            ready.clear()
    if picture_out is None:
        raise Unusable(_UNUSABLE)
    for stream in filter(None, (picture_out, sound_out)):
        made.mux(stream.encode(None))


def _time(frame: Any, video: Any) -> float:
    """Seconds since the first picture."""
    return float(frame.pts * frame.time_base - start_of(video)) + 1e-6


def _picture_stream(made: OutputContainer, video: Any, picture: Any) -> Any:
    options = {"crf": QUALITY_OF_VIDEO, "preset": SPEED, **_LITTLE_MEMORY}
    stream: Any = made.add_stream("libx264", rate=video.average_rate or video.guessed_rate, options=options)
    stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "yuv420p"
    stream.codec_context.time_base = video.time_base
    stream.codec_context.thread_count = 1
    return stream


class _Covered:
    """Makes frames upright and, where a size is asked for, of that size: scaled until they cover it, then cut."""

    def __init__(self, video: Any, size: tuple[int, int] | None) -> None:
        self._video = video
        self._size = size
        self._graph: Graph | None = None

    def of(self, frame: Any) -> list[Any]:
        if self._graph is None:
            self._graph = self._make(frame.rotation)
        self._graph.vpush(frame)
        return [self._graph.vpull()]

    def _make(self, rotation: int) -> Graph:
        graph = Graph()
        graph.threads = 1
        nodes = [graph.add_buffer(template=self._video)]
        nodes += [graph.add(*turn) for turn in _TURNS.get(rotation, [])]
        if self._size is not None:
            width, height = self._size
            nodes.append(graph.add("scale", f"{width}:{height}:force_original_aspect_ratio=increase:flags=lanczos"))
            nodes.append(graph.add("crop", f"{width}:{height}"))
        else:
            nodes.append(graph.add("crop", "trunc(iw/2)*2:trunc(ih/2)*2"))  # as 4:2:0 needs it
        nodes += [graph.add("setsar", "1"), graph.add("format", "yuv420p"), graph.add("buffersink")]
        graph.link_nodes(*nodes).configure()
        return graph
