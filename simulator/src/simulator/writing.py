"""Texts about what was asked: made of the prompt's own words by dice that the prompt seeds, a token a word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

SENTENCES = (3, 6)
CHARACTERS_PER_TOKEN = 4
ANSWER_CHARACTERS = 200
_WORD = re.compile(r"[^\W\d_]{4,}")
_MARKER = re.compile(r"\[\[.*?\]\]")
_TOKEN = re.compile(r"\s*\S+")
_DULL = frozenset(
    _WORD.findall(
        "about above after again also because before could does from have here into just like make more most over "
        "please same should some such than that their them then there these they this those very want what when "
        "where which while will with would write your"
    )
)
_FRAMES = (
    "First of all, {a} decides how {b} is seen.",
    "Nobody who knows {a} forgets {b}.",
    "Between {a} and {b} there is room for surprise.",
    "What {a} begins, {b} carries on.",
    "Look closely at {a}: it tells of {b}.",
    "In the end, {a} matters more than {b}.",
    "A little {a}, and {b} comes alive.",
)


def write(messages: Sequence[tuple[str, str]]) -> list[str]:
    """The tokens of an answer to (role, text) messages, the last of them the prompt, or what tools answered after it;
    joined they are the text."""
    answers = [text for role, text in messages if role == "tool"]
    messages = [message for message in messages if message[0] != "tool"]
    while messages[-1][0] == "assistant":
        messages = messages[:-1]
    prompt = _MARKER.sub("", messages[-1][1]).strip()
    dice = Random("|".join(text for _, text in messages))
    words = [word.lower() for word in _WORD.findall(prompt) if word.lower() not in _DULL] or ["silence", "this"]
    sentences = [f"On “{' '.join(prompt.split()[:12])}”:"]
    earlier = [text for role, text in messages[:-1] if role != "system"]
    if earlier:
        sentences.append(f"You said before: “{' '.join(earlier[-1].split()[:6])}”.")
    for role, text in messages:
        if role == "system":
            sentences.append(f"As told, {' '.join(text.split()[:6]).rstrip('.').lower()}.")
    sentences += [f"It came back: {' '.join(answer.split())[:ANSWER_CHARACTERS]}." for answer in answers]
    for _ in range(dice.randint(*SENTENCES)):
        first, second = dice.choice(words), dice.choice(words)
        sentences.append(dice.choice(_FRAMES).format(a=first, b=second))
    return _TOKEN.findall(" ".join(sentences))


def tokens_of(text: str) -> int:
    """How many tokens a text counts as when it is read."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)
