"""What is shown of a script, and when: pieces of it, each for as long as it takes to say among the others."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

MAX_LETTERS = 56
"""Of one caption: two lines."""
PAUSE_LETTERS = 4
"""How many letters could be said while the speaker stops at the end of a sentence."""
_SENTENCE = re.compile("[.!?\N{HORIZONTAL ELLIPSIS}:;\u3002\uff01\uff1f\uff1b]+[\"'\u201d\u2019\u00bb)\\]]*$")
"""The end of one, in Chinese and Japanese as well."""


@dataclass(frozen=True, slots=True)
class Caption:
    """Shown from `start` to before `end`, in seconds."""

    start: float
    end: float
    text: str


def captions(script: str, seconds: float) -> list[Caption]:
    """All that is said in so many seconds, in order and without gaps."""
    pieces = list(_pieces(script))
    whole = sum(map(_weight, pieces))
    shown: list[Caption] = []
    start = 0.0
    said = 0
    for piece in pieces:
        said += _weight(piece)
        end = seconds * said / whole
        shown.append(Caption(start, end, piece))
        start = end
    return shown


def at(shown: list[Caption], second: float) -> str:
    """What is shown then."""
    return next((caption.text for caption in shown if caption.start <= second < caption.end), "")


def _pieces(script: str) -> Iterator[str]:
    """Whole sentences where they fit, never a part of a word that fits."""
    piece = ""
    for word, is_apart in _words(script):
        joined = f"{piece} {word}" if piece and is_apart else piece + word
        if piece and _letters(joined) > MAX_LETTERS:
            yield piece
            joined = word
        piece = joined
        if _SENTENCE.search(piece):
            yield piece
            piece = ""
    if piece:
        yield piece


def _words(script: str) -> Iterator[tuple[str, bool]]:
    """What may not be torn, and whether there is a space before it; scripts without spaces may be torn after each
    sign, as may a word that is too long for itself."""
    for word in script.split():
        start = 0
        for stop in range(1, len(word) + 1):
            last = stop == len(word)
            after_sign = is_wide(word[stop - 1]) and not (not last and _SENTENCE.match(word[stop]))
            if last or after_sign or stop - start >= MAX_LETTERS:
                yield word[start:stop], start == 0
                start = stop


def is_wide(letter: str) -> bool:
    """Whether it is a sign that stands for a syllable or a word."""
    return unicodedata.east_asian_width(letter) in {"W", "F"}


def _letters(piece: str) -> int:
    """How much room it takes."""
    return sum(2 if is_wide(letter) else 1 for letter in piece)


def _weight(piece: str) -> int:
    """How long it takes to say, in letters."""
    said = sum(3 if is_wide(letter) else 1 for letter in piece if letter.isalnum())
    return max(1, said) + (PAUSE_LETTERS if _SENTENCE.search(piece) else 0)
