"""The operator's own rules about prompts: rows of `moderation_rules`, matched by words and nothing else.

A rule has groups of phrases. A text breaks it where one phrase of each group stands within so many words; what stands
in `unless` means something else and does not count. A phrase's last word may end in `*`. Matching takes one pass over
the text, so that no rule and no text can keep a process busy, as a pattern language could.
"""

import asyncio
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import structlog
from pydantic import TypeAdapter
from sqlalchemy import text

from runtime.database import Database

LONG_CHARACTERS = 10_000
"""A longer text is judged beside the event loop."""

Phrase = tuple[str, ...]

_WORD = re.compile(r"[^\W_]+")
_READ = text("""
    SELECT name, groups::text AS groups, unless::text AS unless, within_words FROM moderation_rules WHERE is_active
    ORDER BY name
""")
_PHRASES = TypeAdapter(list[str])
_GROUPS = TypeAdapter(list[list[str]])

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule."""

    name: str
    groups: tuple["Phrases", ...]
    unless: "Phrases"
    within_words: int

    def is_broken_by(self, words: Sequence[str]) -> bool:
        """Whether these words, as `words_of` gives them, break it."""
        different = frozenset(words)
        if not all(group.may_stand_among(different) for group in self.groups):
            return False
        meant_otherwise = {place + i for place, length in self.unless.found(words) for i in range(length)}
        latest: dict[int, int] = {}
        hits = sorted(
            (place, group)
            for group, phrases in enumerate(self.groups)
            for place, _ in phrases.found(words)
            if place not in meant_otherwise
        )
        for place, group in hits:
            latest[group] = place
            if len(latest) == len(self.groups) and place - min(latest.values()) < self.within_words:
                return True
        return False


@dataclass(frozen=True, slots=True)
class Phrases:
    """Several phrases, by the word that each begins with; those whose only word ends in `*` by what it begins with."""

    by_first: dict[str, tuple[Phrase, ...]]
    prefixes: tuple[str, ...]

    @classmethod
    def of(cls, written: Sequence[str]) -> "Phrases":
        """Raises ValueError for a phrase without a word."""
        by_first: dict[str, list[Phrase]] = {}
        prefixes = []
        for each in written:
            phrase = [*words_of(each)]
            if not phrase:
                raise ValueError(f"a phrase without a word: {each!r}")
            if each.rstrip().endswith("*"):
                phrase[-1] += "*"
            if len(phrase) == 1 and phrase[0].endswith("*"):
                prefixes.append(phrase[0].removesuffix("*"))
            else:
                by_first.setdefault(phrase[0], []).append(tuple(phrase))
        return cls({first: tuple(phrases) for first, phrases in by_first.items()}, tuple(prefixes))

    def may_stand_among(self, words: frozenset[str]) -> bool:
        """False where none of them can; most texts are done with by this."""
        if not words.isdisjoint(self.by_first):
            return True
        return bool(self.prefixes) and any(word.startswith(self.prefixes) for word in words)

    def found(self, words: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Where they stand, and how many words each has."""
        for place, word in enumerate(words):
            if word.startswith(self.prefixes):
                yield place, 1
            for phrase in self.by_first.get(word, ()):
                if _stands(phrase, words[place : place + len(phrase)]):
                    yield place, len(phrase)


class Rules:
    """The rules as this process last read them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._rules: tuple[Rule, ...] | None = None
        self._first_reading = asyncio.Lock()

    async def refresh(self) -> None:
        """Reads them. One that cannot be understood is left out, and the log says which."""
        async with self._database.statement() as connection:
            rows = (await connection.execute(_READ)).all()
        rules = []
        for row in rows:
            try:
                rules.append(rule_of(row.name, row.groups, row.unless, row.within_words))
            except ValueError as error:
                log.error("rule.not_understood", rule=row.name, error=str(error)[:300])
        self._rules = tuple(rules)

    async def broken_by(self, said: str) -> str | None:
        """The name of a rule that a text breaks. Raises OSError, sqlalchemy.exc.DBAPIError: none could be read yet."""
        if self._rules is None:
            async with self._first_reading:  # one reads for all who come at once
                if self._rules is None:
                    await self.refresh()
        if len(said) > LONG_CHARACTERS:
            return await asyncio.to_thread(self._broken_by, said)
        return self._broken_by(said)

    def _broken_by(self, said: str) -> str | None:
        words = words_of(said)
        return next((rule.name for rule in self._rules or () if rule.is_broken_by(words)), None)


def rule_of(name: str, groups: str, unless: str, within_words: int) -> Rule:
    """A row as a rule, from its JSON. Raises ValueError."""
    understood = tuple(Phrases.of(group) for group in _GROUPS.validate_json(groups))
    if not understood:
        raise ValueError("a rule without a group would be broken by every text")
    return Rule(name, understood, Phrases.of(_PHRASES.validate_json(unless)), within_words)


def words_of(said: str) -> list[str]:
    """The words of a text as they are compared: in one case, without accents, and without what cannot be seen."""
    if not said.isascii():
        plain = unicodedata.normalize("NFKD", said)
        said = "".join(each for each in plain if not unicodedata.category(each).startswith(("M", "Cf")))
    return _WORD.findall(said.casefold())


def _stands(phrase: Phrase, words: Sequence[str]) -> bool:
    if len(words) < len(phrase) or tuple(words[:-1]) != phrase[:-1]:
        return False
    last = phrase[-1]
    return words[-1].startswith(last[:-1]) if last.endswith("*") else words[-1] == last
