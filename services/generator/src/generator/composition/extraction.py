"""The sound of a film by itself, as an MP3 that everything plays. Its pictures are never decoded."""

from fractions import Fraction
from pathlib import Path

import av

from generator.composition.plan import Unusable
from generator.composition.sound import LAYOUT, RATE, frames_of

FILM = "film"
SOUND = "sound.mp3"
MAX_SECONDS = 1800
BITS_PER_SECOND = 192_000


def extract(folder: Path) -> None:
    """Writes the sound of the folder's film beside it.

    Raises:
        Unusable: it is no film that we know, is broken, too long, or silent film.
        OSError: the folder cannot be read or written.
    """
    samples = 0
    with av.open(str(folder / SOUND), "w", format="mp3") as made:
        heard = made.add_stream("libmp3lame", rate=RATE, layout=LAYOUT)
        heard.bit_rate = BITS_PER_SECOND
        for frame in frames_of(folder / FILM):
            frame.pts, frame.time_base = samples, Fraction(1, RATE)
            samples += frame.samples
            if samples > MAX_SECONDS * RATE:
                raise Unusable(f"the film is longer than {MAX_SECONDS} seconds")
            made.mux(heard.encode(frame))
        if not samples:
            raise Unusable("there is nothing to hear in it")
        made.mux(heard.encode(None))
