"""What a video or a sound is: decided by its content, decoded by FFmpeg with one demuxer and few decoders.

To be run in the workshop only. FFmpeg is given an open file, a demuxer that the first bytes chose, and no protocol at
all: a playlist inside a "video" is nothing to it, and nothing that a file names is opened.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from os import SEEK_CUR
from pathlib import Path
from typing import IO, Any

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition

from contracts.facts import Kind
from storage.beginnings import HEAD_BYTES, demuxer_of
from storage.pictures import Unusable

MAX_SECONDS = 3600
MAX_STREAMS = 8
MAX_PIXELS = 3840 * 2160 * 4
"""Of one frame: 8K."""
_VIDEO_CODECS = {"h264", "hevc", "vp8", "vp9", "av1", "libdav1d"}
_AUDIO_CODECS = {"aac", "mp3", "mp3float", "opus", "vorbis", "flac", "pcm_s16le", "pcm_s24le", "pcm_f32le"}
"""What browsers play. Every other decoder would only be a way in."""
_NO_PROTOCOL = {"protocol_whitelist": "none"}
_PASSED_OVER = re.compile(rb"ID3|\0+\Z")
"""Where a frame of an MP3 would begin."""
_MP3_LENGTH = re.compile(rb"Xing|Info|VBRI")
"""In its first frame."""
_WAV_UNKNOWN_BYTES = 2_000_000_000
"""What is written where nobody knows the length yet is this or more, or nothing."""
_OGG_HEAD_BYTES = 27
"""Of a page; the last of them says how many lengths follow, of which the content is the sum."""
_DAMAGED = "the recording is damaged or incomplete"


@dataclass(frozen=True, slots=True)
class Recording:
    """What the content says about itself. Width and height in pixels, as a player shows them; None for a sound."""

    mime_type: str
    width: int | None
    height: int | None
    seconds: float
    bitrate: int
    """Bits per second, all streams together."""


def inspect(path: str, kind: Kind | None = None) -> Recording:
    """Reads all packets of a recording and decodes all of its sound and every picture that stands for itself.

    With a kind it has to be a video, or speech.

    Raises:
        Unusable: it is nothing of that kind, too long or large, of a codec that nobody plays, broken or incomplete.
        OSError: the file cannot be read.
    """
    with opened(path) as container:
        video, sound = seen_and_heard(container)
        if kind is Kind.VIDEO and video is None:
            raise Unusable("the content is no video")
        if kind is Kind.SPEECH and video is not None:
            raise Unusable("the content is no sound")
        if container.format.name == "ogg" and _ends_within_a_page(path):
            raise Unusable(_DAMAGED)
        if video is not None:
            video.codec_context.skip_frame = "NONKEY"  # the others are read, and need these
        rotation, seconds = _play(container, video, sound, is_promised=_says_its_length(path))
        width, height = (video.codec_context.width, video.codec_context.height) if video is not None else (None, None)
        if rotation % 180:
            width, height = height, width
        size = Path(path).stat().st_size
        return Recording(
            _mime_type(path, "audio" if video is None else "video"),
            width,
            height,
            round(seconds, 3),
            int(size * 8 / seconds),
        )


@contextmanager
def opened(path: str) -> Iterator[InputContainer]:
    """A recording whose header was looked at; whatever a decoder makes of hostile bytes inside is Unusable."""
    with Path(path).open("rb") as file:
        demuxer = _demuxer_of(file)
        if demuxer is None:
            raise Unusable("the content is no video or sound that we keep")
        file.seek(0)
        try:
            with av.open(file, "r", format=demuxer, options=_NO_PROTOCOL, metadata_errors="ignore") as container:
                _check_header(container, is_promised=_says_its_length(path))
                yield container
        except (FFmpegError, EOFError, ValueError) as error:
            # What the disk says comes as an OSError of Python's own; FFmpeg's is of what is too short.
            raise Unusable(_DAMAGED) from error


def seen_and_heard(container: InputContainer) -> tuple[Any, Any]:
    """The video and the sound that players take: the first of each, None where there is none. A cover is no video."""
    videos = (each for each in container.streams.video if Disposition.attached_pic not in each.disposition)
    return next(videos, None), next(iter(container.streams.audio), None)


def packets(container: InputContainer, *streams: Any) -> Iterator[Any]:
    """What there is to play of these streams. The tags in the midst of an MP3 that was joined of several are not, nor
    what fills its end; of a sound in Ogg that was joined each part follows the one before."""
    moved, last = 0, None
    for packet in container.demux(*streams):
        if container.format.name == "mp3" and _PASSED_OVER.match(bytes(packet)):
            continue
        if container.format.name == "ogg" and packet.stream.type == "audio" and packet.pts is not None:
            if last is not None and packet.pts + moved < last.pts:
                moved = last.pts + last.duration - packet.pts
            packet.pts = packet.dts = packet.pts + moved
            last = packet
        yield packet


def start_of(stream: Any) -> Fraction:
    """In seconds; 0 where nothing is said of it."""
    return Fraction(stream.start_time * stream.time_base) if stream.start_time is not None else Fraction(0)


def _check_header(container: InputContainer, *, is_promised: bool) -> None:
    video, sound = seen_and_heard(container)
    if video is None and sound is None:
        raise Unusable("there is nothing to see or hear in it")
    if len(container.streams) > MAX_STREAMS:
        raise Unusable(f"the recording has more than {MAX_STREAMS} streams")
    if is_promised and (container.duration or 0) > MAX_SECONDS * av.time_base:
        raise Unusable(f"the recording is longer than {MAX_SECONDS} seconds")
    for stream, allowed in ((video, _VIDEO_CODECS), (sound, _AUDIO_CODECS)):
        if stream is None:
            continue
        if stream.codec_context is None or stream.codec_context.name not in allowed:
            raise Unusable("the recording is of a kind that browsers do not play")
        stream.codec_context.thread_count = 1  # a thread more would be memory more
    if video is not None and not 0 < video.codec_context.width * video.codec_context.height <= MAX_PIXELS:
        raise Unusable(f"a frame has more than {MAX_PIXELS // 1_000_000} million pixels")


def _play(container: InputContainer, video: Any, sound: Any, *, is_promised: bool) -> tuple[int, float]:
    """The rotation in degrees, and for how many seconds pictures, or sound alone, are played.

    Where no length is promised, the last packet may be shorter than FFmpeg expects, and less may come than it guesses.
    """
    leading = video if video is not None else sound
    rotation = 0
    frames = 0
    end = last = 0.0
    for packet in packets(container, *filter(None, (video, sound))):
        if packet.pts is not None and packet.time_base is not None:
            shown = float((packet.pts + (packet.duration or 0)) * packet.time_base)
            last = max(last, shown)
            end = max(end, shown) if packet.stream is leading else end
        if packet.is_corrupt and is_promised:
            raise Unusable(_DAMAGED)
        if end > MAX_SECONDS:
            raise Unusable(f"the recording is longer than {MAX_SECONDS} seconds")
        frame: Any
        for frame in packet.decode():
            frames += packet.stream is leading
            if packet.stream is video and frames == 1:
                rotation = frame.rotation
    if not frames and video is not None:
        rotation, frames = _shown_first(container, video)
    seconds = end - float(start_of(leading))
    if not frames or seconds <= 0 or (is_promised and _is_cut_off(container, leading, seconds, last)):
        raise Unusable(_DAMAGED)
    return rotation, seconds


def _shown_first(container: InputContainer, video: Any) -> tuple[int, int]:
    """The rotation and number, 0 or 1, of the first picture that is shown of what has no key frame to show: whoever
    trimmed it without making it anew hid them."""
    container.seek(0)
    video.codec_context.skip_frame = "DEFAULT"
    frame: Any = next(container.decode(video), None)
    return (frame.rotation, 1) if frame is not None else (0, 0)


def _is_cut_off(container: InputContainer, leading: Any, seconds: float, last: float) -> bool:
    """Whether much less came than the header promises: of what leads, or, as in a WebM, only up to when all ends."""
    if leading.duration is not None:
        played, promised = seconds, float(leading.duration * leading.time_base)
    else:
        played, promised = last, (container.duration or 0) / av.time_base
    return played < promised - max(0.5, promised / 20)


def _says_its_length(path: str) -> bool:
    """Whether a recording itself says how long it is. Of what was sent while it was spoken FFmpeg guesses that, from
    what the first of it took, which is little where it begins quietly."""
    with Path(path).open("rb") as file:
        demuxer = _demuxer_of(file)
        if demuxer == "mp3":
            return _MP3_LENGTH.search(file.read(HEAD_BYTES)) is not None
        if demuxer == "wav":
            file.seek(12)
            while len(chunk := file.read(8)) == 8:
                size = int.from_bytes(chunk[4:], "little")
                if chunk.startswith(b"data"):
                    return 0 < size < _WAV_UNKNOWN_BYTES
                file.seek(size + size % 2, SEEK_CUR)
        return demuxer != "aac"


def _ends_within_a_page(path: str) -> bool:
    """Whether the last page of an Ogg is cut (RFC 3533, 6): nothing in front promises it, and FFmpeg passes over it."""
    end = Path(path).stat().st_size
    position = 0
    with Path(path).open("rb") as file:
        while position < end:
            file.seek(position)
            head = file.read(_OGG_HEAD_BYTES)
            if head[:4] != b"OggS"[: len(head)]:
                return False  # something else behind it, which no player reads
            if len(head) < _OGG_HEAD_BYTES or len(lengths := file.read(head[-1])) < head[-1]:
                return True
            position += _OGG_HEAD_BYTES + len(lengths) + sum(lengths)
    return position > end


def _mime_type(path: str, family: str) -> str:
    with Path(path).open("rb") as file:
        demuxer = _demuxer_of(file)
        head = file.read(HEAD_BYTES)
    names = {
        "mov": "video/quicktime" if head[8:12] == b"qt  " and family == "video" else f"{family}/mp4",
        "matroska": f"{family}/webm",
        "wav": "audio/wav",
        "ogg": "audio/ogg",
        "flac": "audio/flac",
        "mp3": "audio/mpeg",
        "aac": "audio/aac",
    }
    return names[demuxer or ""]


def _demuxer_of(file: IO[bytes]) -> str | None:
    """By the first bytes behind the tags, where the file is then: AAC and FLAC may have them in front as an MP3 has."""
    first = head = file.read(HEAD_BYTES)
    begin = 0
    while head.startswith(b"ID3"):
        begin += 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False))
        file.seek(begin)
        head = file.read(HEAD_BYTES)
    file.seek(begin)
    behind = demuxer_of(head)
    return behind if behind in {"aac", "flac"} else demuxer_of(first)
