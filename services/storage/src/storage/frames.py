"""A few small pictures of a film, to be judged by: what is seen soon after its beginning, in its middle, near its end.

To be run in the workshop only; the same guards as in `recordings`.
"""

from contextlib import suppress
from io import BytesIO
from typing import Any

import av
from av.container import InputContainer
from av.error import FFmpegError
from PIL import Image

from contracts.judging import MAX_FRAME_BYTES
from storage.films import POSTER_SECONDS
from storage.pictures import Unusable
from storage.recordings import opened, seen_and_heard

PLACES = (1 / 2, 9 / 10)
"""In parts of the film's length, after the one that its poster shows."""
MAX_DECODED = 300
"""Frames from a place that can be jumped to up to the one that is wanted; beyond these the last one serves."""
SIDES = (512, 256, 128)
"""Pixels at most each way: the first at which a picture is small enough."""
QUALITY = 75


def frames(source: str) -> list[bytes]:
    """JPEGs, in the film's order.

    Raises:
        storage.pictures.Unusable: there is nothing to see in it.
    """
    with opened(source) as container:
        video, _ = seen_and_heard(container)
        if video is None:
            raise Unusable("the video has no picture")
        begins_at = (container.start_time or 0) / av.time_base
        seconds = (container.duration or 0) / av.time_base
        found = [_at(container, video, begins_at + POSTER_SECONDS)]
        for place in PLACES:
            if seconds * place > POSTER_SECONDS:
                with suppress(FFmpegError):  # without an index there is no jumping
                    container.seek(int((begins_at + seconds * place) * av.time_base))
                    found.append(_at(container, video, begins_at + seconds * place))
        seen = [_small(frame) for frame in found if frame is not None]
    if not seen:
        raise Unusable("the video has no picture")
    return seen


def _at(container: InputContainer, video: Any, second: float) -> Any:
    """The frame that is shown then."""
    chosen: Any = None
    for decoded, frame in enumerate(container.decode(video)):
        chosen = frame
        if decoded >= MAX_DECODED or (frame.time is not None and frame.time >= second):
            break
    return chosen


def _small(frame: Any) -> bytes:
    image = frame.to_image()
    if frame.rotation:
        image = image.rotate(frame.rotation, expand=True)
    for side in SIDES:
        image.thumbnail((side, side), Image.Resampling.BILINEAR)
        output = BytesIO()
        image.save(output, "JPEG", quality=QUALITY)
        if output.tell() <= MAX_FRAME_BYTES:
            break
    return output.getvalue()
