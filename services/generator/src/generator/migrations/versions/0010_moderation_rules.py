"""What prompts must not ask for, as data: a short list about which nobody argues. Finer judgement is a model's."""

import json
from collections.abc import Sequence

from alembic import op

revision = "0010"
down_revision = "0009"

_NUMBERS = [
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
]
_AGES = [
    phrase
    for age in (*map(str, range(1, 18)), *_NUMBERS)
    for phrase in (f"{age} year old", f"{age} years old", f"{age} yr old", f"{age} yo", f"{age}yo")
]
_MINORS = [
    "child", "children", "kid", "kids", "toddler*", "infant", "infants", "preteen*", "pre teen", "pre teens", "underage",
    "under age", "schoolgirl*", "schoolboy*", "school girl*", "school boy*", "little girl*", "little boy*",
    "young girl*", "young boy*", "teen", "teens", "teenage", "teenager*", *_AGES,
]  # fmt: skip
_SEXUAL = [
    "nude", "nudes", "nudity", "naked", "no clothes", "without clothes", "erotic*", "porn*", "nsfw", "hentai", "orgasm*",
    "masturbat*", "penis", "vagina", "sexy", "sexualized", "sexualised", "sexually explicit", "having sex", "sex scene*",
    "sex with", "sex act*", "sexual act*", "sexual intercourse", "sexual pose*", "sexual position*", "oral sex",
]  # fmt: skip
_ANOTHER_MEANING = [
    "nude tone*", "nude colo*", "nude shade*", "nude palette", "nude pink", "nude lipstick*", "nude makeup",
    "nude heels", "naked eye", "naked truth", "naked mole*", "naked tree*", "naked branch*",
]  # fmt: skip
_HOW = [
    "how to", "how do i", "how can i", "how do you", "how would i", "how would you", "instruction", "instructions",
    "recipe*", "step by step", "tutorial*", "blueprint*", "formula for",
]  # fmt: skip
_MAKE = [
    "make", "making", "build", "building", "construct*", "synthesi*", "produce", "producing", "production",
    "manufactur*", "assembl*", "cook", "cooking", "cultur*", "cultivat*", "grow", "growing", "weaponi*", "enrich*",
    "create", "creating", "detonat*", "disperse", "dispersing", "preparation", "prepare",
]  # fmt: skip
_WEAPONS = [
    "nerve agent*", "nerve gas", "sarin", "soman", "tabun", "novichok", "vx gas", "mustard gas", "sulfur mustard",
    "ricin", "botulinum toxin", "anthrax", "smallpox", "bioweapon*", "biological weapon*", "chemical weapon*",
    "dirty bomb*", "pipe bomb*", "nail bomb*", "car bomb*", "nuclear bomb*", "nuclear weapon*", "atomic bomb*",
    "fertilizer bomb*", "suicide vest*", "weapons grade",
]  # fmt: skip
_RULES: tuple[tuple[str, Sequence[Sequence[str]], Sequence[str], int], ...] = (
    ("sexual/minors", (_MINORS, _SEXUAL), _ANOTHER_MEANING, 8),
    ("sexual/minors/named", (["lolicon", "shotacon", "loli hentai", "shota hentai", "jailbait"],), [], 1),
    ("mass-harm", (_HOW, _MAKE, _WEAPONS), [], 10),
)


def upgrade() -> None:
    op.execute("""
        CREATE TABLE moderation_rules (
            name text CONSTRAINT pk_moderation_rules PRIMARY KEY,
            groups jsonb NOT NULL,
            unless jsonb NOT NULL DEFAULT '[]',
            within_words integer NOT NULL CONSTRAINT ck_moderation_rules_within_words CHECK (within_words > 0),
            is_active boolean NOT NULL DEFAULT true
        )
    """)
    for name, groups, unless, within_words in _RULES:
        op.execute(f"""
            INSERT INTO moderation_rules (name, groups, unless, within_words)
            VALUES ('{name}', '{json.dumps(groups)}', '{json.dumps(unless)}', {within_words})
        """)  # noqa: S608 - put together from constants


def downgrade() -> None:
    op.execute("DROP TABLE moderation_rules")
