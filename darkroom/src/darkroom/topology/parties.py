"""Who says what, and who asks whom: the one thing about the conversation that the contracts' data does not hold."""

from contracts.questions import (
    GATEWAY_FORGET_VOICES,
    GATEWAY_OUTCOMES,
    GENERATOR_CATALOG,
    GENERATOR_CLONE_VOICE,
    GENERATOR_COURSE,
    GENERATOR_FIGURES,
    GENERATOR_FINISH_TEXT,
    GENERATOR_FORGET_VOICE,
    GENERATOR_FRESH_ADDRESS,
    GENERATOR_JUDGE_FRAMES,
    GENERATOR_KEYS,
    GENERATOR_LOOK_AT_TASK,
    GENERATOR_MODELS,
    GENERATOR_MODERATE,
    GENERATOR_SET_KEY,
    GENERATOR_SWITCH_MODEL,
    GENERATOR_TAKE_RESULT,
    LEDGER_AFFORDABLE,
    LEDGER_BALANCE,
    LEDGER_CONFIRM_PAYMENT,
    LEDGER_CONSUME,
    LEDGER_COURSE,
    LEDGER_CREATE_PAYMENT,
    LEDGER_CREDIT_PACKS,
    LEDGER_FIGURES,
    LEDGER_GRANT,
    LEDGER_PAYMENT_EVENT,
    LEDGER_PLANS,
    LEDGER_PRICES,
    LEDGER_SET_PLAN,
    LEDGER_SET_PRICES,
    LEDGER_STATEMENT,
    LEDGER_USAGE,
    STORAGE_COURSE,
    STORAGE_DELETE,
    STORAGE_FIND_MEDIA,
    STORAGE_FORGET,
    STORAGE_KEEP,
    STORAGE_LEND,
    STORAGE_OFFER_UPLOAD,
    STORAGE_REUSE,
    STORAGE_SHOW,
    STORAGE_TAKE_UPLOAD,
    STORAGE_USAGE,
)
from contracts.topology import CONSUMERS, STREAMS

PUBLISHERS: dict[str, tuple[str, ...]] = {
    "generation.requested.{kind}.{lane}.{generation_id}": ("gateway",),
    "generation.funded.{kind}.{lane}.{generation_id}": ("ledger",),
    "generation.rendered.{kind}.{lane}.{generation_id}": ("generator",),
    "generation.outcome.{generation_id}": ("gateway", "generator", "storage", "ledger"),
    "credits.granted.{user_id}": ("ledger",),
    "credits.payment_received.{user_id}": ("ledger",),
    "credits.changed.{user_id}": ("ledger",),
    "notification.{user_id}.{status}": ("gateway",),
}
ASKERS: dict[str, tuple[str, ...]] = {
    LEDGER_AFFORDABLE: ("gateway",),
    LEDGER_BALANCE: ("gateway",),
    LEDGER_PRICES: ("gateway", "operator"),
    LEDGER_GRANT: ("operator",),
    LEDGER_STATEMENT: ("gateway", "operator"),
    LEDGER_CREDIT_PACKS: ("gateway",),
    LEDGER_CREATE_PAYMENT: ("gateway",),
    LEDGER_CONFIRM_PAYMENT: ("gateway",),
    LEDGER_PAYMENT_EVENT: ("gateway",),
    LEDGER_CONSUME: ("gateway",),
    LEDGER_USAGE: ("gateway",),
    LEDGER_SET_PLAN: ("operator",),
    LEDGER_PLANS: ("storage",),
    LEDGER_SET_PRICES: ("operator",),
    LEDGER_COURSE: ("gateway",),
    LEDGER_FIGURES: ("gateway",),
    GENERATOR_CATALOG: ("gateway",),
    GENERATOR_MODELS: ("gateway", "operator"),
    GENERATOR_SWITCH_MODEL: ("gateway", "operator"),
    GENERATOR_FRESH_ADDRESS: ("storage",),
    GENERATOR_KEYS: ("gateway",),
    GENERATOR_SET_KEY: ("gateway",),
    GENERATOR_TAKE_RESULT: ("gateway",),
    GENERATOR_LOOK_AT_TASK: ("gateway",),
    GENERATOR_MODERATE: ("gateway",),
    GENERATOR_CLONE_VOICE: ("gateway",),
    GENERATOR_FORGET_VOICE: ("gateway",),
    GENERATOR_COURSE: ("gateway",),
    GENERATOR_FIGURES: ("gateway",),
    GENERATOR_FINISH_TEXT: ("gateway",),
    GENERATOR_JUDGE_FRAMES: ("storage",),
    GATEWAY_OUTCOMES: ("ledger", "storage"),
    GATEWAY_FORGET_VOICES: ("operator",),
    STORAGE_TAKE_UPLOAD: ("gateway",),
    STORAGE_OFFER_UPLOAD: ("gateway",),
    STORAGE_FIND_MEDIA: ("gateway",),
    STORAGE_LEND: ("generator", "gateway"),
    STORAGE_USAGE: ("gateway", "operator"),
    STORAGE_KEEP: ("operator",),
    STORAGE_DELETE: ("gateway",),
    STORAGE_SHOW: ("gateway",),
    STORAGE_FORGET: ("gateway", "operator"),
    STORAGE_REUSE: ("generator",),
    STORAGE_COURSE: ("gateway",),
}
TELL_PROGRESS = ("generator", "storage")
HEAR_PROGRESS = ("gateway",)
HEAR_VERDICTS = ("gateway",)
"""Nobody says them but the log."""


def stream_of(subject: str) -> str | None:
    """The stream that keeps what is said on a subject; parameters such as `{kind}` stand for any token."""
    for stream in STREAMS:
        if any(covers(pattern, subject) for pattern in stream.subjects):
            return stream.name
    return None


def consumers_of(channel: str) -> list[str]:
    """The durables that hear what is said on a channel."""
    return [
        consumer.durable
        for consumer in CONSUMERS
        if any(overlap(subject, as_pattern(channel)) for subject in consumer.filter_subjects)
    ]


def answers(question: str) -> str:
    """The service that a question is put to: its subject begins with the name."""
    return question.partition(".")[0]


def as_pattern(channel: str) -> str:
    """`a.{b}.c` as NATS writes it: `a.*.c`."""
    return ".".join("*" if token.startswith("{") else token for token in channel.split("."))


def covers(pattern: str, subject: str) -> bool:
    """Whether everything that `subject` stands for lies in `pattern`; both may have wildcards."""
    wide, narrow = pattern.split("."), as_pattern(subject).split(".")
    for index, part in enumerate(wide):
        if part == ">":
            return len(narrow) > index
        if index >= len(narrow) or narrow[index] == ">" or part not in ("*", narrow[index]):
            return False
    return len(wide) == len(narrow)


def overlap(first: str, second: str) -> bool:
    """Whether some subject lies in both patterns."""
    ours, theirs = first.split("."), second.split(".")
    for index in range(max(len(ours), len(theirs))):
        if index >= len(ours) or index >= len(theirs):
            return False
        if ">" in (ours[index], theirs[index]):
            return True
        if "*" not in (ours[index], theirs[index]) and ours[index] != theirs[index]:
            return False
    return True
