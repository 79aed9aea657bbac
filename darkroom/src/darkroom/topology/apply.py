"""Creates what is missing and corrects what differs. Never deletes: a stream holds accepted work."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from nats.aio.client import Client

from contracts.topology import CLAIMS_BUCKET, CLAIMS_MAX_AGE_SECONDS, CONSUMERS, RECENT_SECONDS, STREAMS, Consumer
from darkroom.jetstream import RefusedError, ask, in_cluster

_NANOSECONDS = 1_000_000_000
_WHERE_IT_STARTS = {"deliver_policy", "opt_start_time"}
"""Fixed when a consumer is made."""
_HOW_IT_KEEPS = {"persist_mode"}
"""Fixed when a stream is made, and for streams of one copy alone."""
FOR_ONE_SERVER = (
    "It was made for one server alone, and can have no copies. Delete it as the operator (`nats stream rm`): it is "
    "made anew, and what was open is driven again."
)
_UNSET_UNLESS_WANTED = (
    *("republish", "discard_new_per_subject", "no_ack", "sealed"),
    *("max_bytes", "max_msg_size", "max_consumers", "sources", "mirror", "subject_transform", "consumer_limits"),
    *("headers_only", "inactive_threshold", "max_batch", "max_expires", "backoff", "priority_groups"),
)
"""Of streams and of consumers: with any of these they refuse, change or hold back what is said."""

Config = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """What was done to one stream or consumer. `reason` says why it was refused."""

    noun: Literal["stream", "consumer"]
    name: str
    done: Literal["created", "updated", "refused"]
    reason: str = ""


async def apply(client: Client, replicas: int = 1) -> list[Change]:
    """Makes the server's streams and consumers what the contracts say; empty where they are already.

    Raises:
        nats.errors.Error: the server does not answer; what was done so far stays.
    """
    changes = []
    for wanted in stream_configs(replicas):
        change = await _settle_stream(client, wanted)
        if change is not None:
            changes.append(change)
    for stream in dict.fromkeys(consumer.stream for consumer in CONSUMERS):
        changes += await _settle_consumers(client, stream, replicas)
    return changes


def stream_configs(replicas: int = 1) -> Iterator[Config]:
    """Every stream's settings; the claims first, so that whoever finds its consumer finds them as well."""
    yield claims_config(replicas)
    for stream in STREAMS:
        yield stream.config(replicas)


def claims_config(replicas: int = 1) -> Config:
    """The Object Store bucket of claims: by its specification a stream named `OBJ_<bucket>`."""
    return {
        "name": f"OBJ_{CLAIMS_BUCKET}",
        "subjects": [f"$O.{CLAIMS_BUCKET}.C.>", f"$O.{CLAIMS_BUCKET}.M.>"],
        "retention": "limits",
        "storage": "file",
        "num_replicas": replicas,
        "max_age": CLAIMS_MAX_AGE_SECONDS * _NANOSECONDS,
        "max_bytes": -1,
        "discard": "new",
        "allow_rollup_hdrs": True,
        "allow_direct": True,
    }


def new_consumer_config(consumer: Consumer, replicas: int, now: datetime) -> Config:
    """A consumer that does not exist yet: `recent` ones start a little back, `all` ones at the beginning."""
    config = consumer.config(replicas)
    if consumer.replay == "recent":
        start = now - timedelta(seconds=RECENT_SECONDS)
        config |= {"deliver_policy": "by_start_time", "opt_start_time": start.isoformat().replace("+00:00", "Z")}
    return config


def differs(wanted: Config, actual: Config) -> bool:
    """Whether a setting is not as wanted. The server leaves out what is empty, and adds settings of its own."""
    keys = [*wanted, *(key for key in _UNSET_UNLESS_WANTED if key not in wanted)]
    return any(_set(wanted.get(key)) != _set(actual.get(key)) for key in keys)


def _set(value: Any) -> Any:
    """None where there is no limit, which the server calls -1, 0 or nothing."""
    return None if value == -1 else value or None


def as_made(wanted: Config, actual: Config) -> Config:
    """What is wanted of a stream that is there already: what was fixed when it was made stays."""
    fixed = {key: actual[key] for key in _HOW_IT_KEEPS if key in actual}
    return {key: value for key, value in wanted.items() if key not in _HOW_IT_KEEPS} | fixed


def is_for_one_server(actual: Config, replicas: int) -> bool:
    """Whether a stream is kept in a way that the server allows no copies of."""
    return replicas > 1 and not _HOW_IT_KEEPS.isdisjoint(actual)


async def _settle_stream(client: Client, wanted: Config) -> Change | None:
    name = wanted["name"]
    try:
        actual = (await ask(client, f"STREAM.INFO.{name}"))["config"]
    except RefusedError as refused:
        if not refused.absent:
            return Change("stream", name, "refused", str(refused))
        # In a cluster one copy becomes three some day.
        wanted = as_made(wanted, {}) if in_cluster(client) else wanted
        return await _attempt(client, f"STREAM.CREATE.{name}", wanted, Change("stream", name, "created"))
    wanted = as_made(wanted, actual)
    if not differs(wanted, actual):
        return None
    change = await _attempt(client, f"STREAM.UPDATE.{name}", wanted, Change("stream", name, "updated"))
    if change.done == "refused" and is_for_one_server(actual, wanted["num_replicas"]):
        return replace(change, reason=f"{change.reason}. {FOR_ONE_SERVER}")
    return change


async def _settle_consumers(client: Client, stream: str, replicas: int) -> list[Change]:
    """Those of one stream, looked at together: a question for each, again and again, is most of what an idle broker
    would do."""
    wanted = [consumer for consumer in CONSUMERS if consumer.stream == stream]
    try:
        found = await _consumers(client, stream)
    except RefusedError as refused:
        if not refused.absent:
            return [Change("consumer", consumer.durable, "refused", str(refused)) for consumer in wanted]
        found = {}
    changes = [await _settle_consumer(client, each, found.get(each.durable, {}), replicas) for each in wanted]
    return [change for change in changes if change is not None]


async def _consumers(client: Client, stream: str) -> dict[str, dict[str, Any] | None]:
    """All consumers of a stream as the server describes them; None where a server that is away has them."""
    found: dict[str, dict[str, Any] | None] = {}
    seen = 0
    while True:
        page = await ask(client, f"CONSUMER.LIST.{stream}", {"offset": seen})
        found |= {each["name"]: each for each in page["consumers"]}
        found |= dict.fromkeys(page.get("missing") or ())
        seen += len(page["consumers"])
        if not page["consumers"] or seen >= page["total"]:
            return found


async def _settle_consumer(
    client: Client, consumer: Consumer, found: dict[str, Any] | None, replicas: int
) -> Change | None:
    stream, name = consumer.stream, consumer.durable
    subject = f"CONSUMER.CREATE.{stream}.{name}"
    if found is None:
        return None
    if not found:
        config = new_consumer_config(consumer, replicas, datetime.now(UTC))
        question = {"stream_name": stream, "config": config, "action": "create"}
        return await _attempt(client, subject, question, Change("consumer", name, "created"))
    if found.get("paused"):
        # An update leaves it so. Its settings are looked at in the next round.
        return await _attempt(client, f"CONSUMER.PAUSE.{stream}.{name}", {}, Change("consumer", name, "updated"))
    actual = found["config"]
    wanted = {key: value for key, value in consumer.config(replicas).items() if key not in _WHERE_IT_STARTS}
    if not differs(wanted, actual):
        return None
    config = wanted | {key: actual[key] for key in _WHERE_IT_STARTS if key in actual}
    question = {"stream_name": stream, "config": config, "action": "update"}
    return await _attempt(client, subject, question, Change("consumer", name, "updated"))


async def _attempt(client: Client, subject: str, question: Config, change: Change) -> Change:
    try:
        await ask(client, subject, question)
    except RefusedError as refused:
        return Change(change.noun, change.name, "refused", str(refused))
    return change
