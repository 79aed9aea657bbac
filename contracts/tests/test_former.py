"""Versions N and N-1 run beside each other: each understands what the other says (docs/operating.md, Upgrades)."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from contracts.facts import Event
from contracts.questions import QUESTIONS
from contracts.tests.samples import ANSWERS, SAMPLES
from darkroom.schemas.documents import json_schemas
from tests.former import schemas

Schema = dict[str, Any]
FORMER = schemas()
TODAY = json_schemas()
ABOUT_VALUES = ("enum", "const", "pattern", "minimum", "maximum", "exclusiveMinimum", "maxLength", "maxItems", "format")
_BY_THE_GATEWAY = "only the gateway begins to say it, and it is upgraded last: whoever hears of it is of this version"
SAID_LATER = {
    "requested.data.messages[].role": _BY_THE_GATEWAY,
    "funded.data.messages[].role": _BY_THE_GATEWAY,
    "rendered.data.request.messages[].role": _BY_THE_GATEWAY,
    "storage.delete.question.generation_id": _BY_THE_GATEWAY,
    "storage.delete.question.undo": "nobody has ever said it, and what a former gateway says is its default",
    "storage.take_upload.question.url": "nobody has ever said it: no dialect brings what is elsewhere",
}
"""Where a difference is no harm → why. An entry goes once the version that has it is the one that is kept."""


def differences(former: Schema, today: Schema) -> list[str]:
    """What a reader of either version would stumble over in what a writer of the other one says."""
    return list(_differences(former, today, former, today, "", frozenset()))


def _differences(
    before: Schema, now: Schema, former: Schema, today: Schema, where: str, seen: frozenset[tuple[str, str]]
) -> Iterator[str]:
    references = (before.get("$ref", ""), now.get("$ref", ""))
    if any(references):
        if references in seen:
            return
        seen |= {references}
    before, now = _resolved(before, former), _resolved(now, today)
    if before.get("type") != now.get("type"):
        yield f"{where} was {before.get('type')}, is {now.get('type')}"
    for about in ABOUT_VALUES:
        if before.get(about) != now.get(about):
            yield f"{where} had {about} {before.get(about)}, has {now.get(about)}"
    for name in sorted(before.get("properties", {}).keys() - now.get("properties", {}).keys()):
        yield f"{where}.{name} is gone"
    for name in sorted(set(now.get("required", ())) - set(before.get("required", ()))):
        yield f"{where}.{name} has to be said"
    for name in sorted(set(before.get("required", ())) - set(now.get("required", ()))):
        yield f"{where}.{name} may be left out"
    for name in sorted(before.get("properties", {}).keys() & now.get("properties", {}).keys()):
        yield from _differences(
            before["properties"][name], now["properties"][name], former, today, f"{where}.{name}", seen
        )
    for inner in ("items", "additionalProperties"):
        if isinstance(before.get(inner), dict) and isinstance(now.get(inner), dict):
            yield from _differences(before[inner], now[inner], former, today, f"{where}[]", seen)
    choices = [schema.get("anyOf") or schema.get("oneOf") or [] for schema in (before, now)]
    if len(choices[0]) != len(choices[1]):
        yield f"{where} was one of {len(choices[0])}, is one of {len(choices[1])}"
    for one, other in zip(*choices, strict=False):
        yield from _differences(one, other, former, today, where, seen)


def _resolved(schema: Schema, document: Schema) -> Schema:
    while "$ref" in schema:
        schema = document["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


@pytest.mark.parametrize("name", sorted(FORMER))
def test_what_was_said_can_still_be_read_and_what_is_said_could_be_read_before(name: str) -> None:
    assert name in TODAY, "meaning never changes under a name, and a name does not go while somebody says it"
    found = {f"{name}{line}".partition(" ")[0]: line for line in differences(FORMER[name], TODAY[name])}
    assert {where: line for where, line in found.items() if where not in SAID_LATER} == {}
    said_later = {where for where in SAID_LATER if where.startswith(f"{name}.")}
    assert said_later <= set(found), "what is no difference any more needs no excuse"


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_the_former_version_understands_every_fact_of_today(sample: Event) -> None:
    Draft202012Validator(FORMER[type(sample).__name__.lower()]).validate(json.loads(sample.encode()))


@pytest.mark.parametrize("subject", sorted(subject for subject in QUESTIONS if f"{subject}.question" in FORMER))
def test_the_former_version_understands_every_question_and_answer_of_today(subject: str) -> None:
    for model, part in zip(QUESTIONS[subject], ("question", "answer"), strict=True):
        document = json.loads(ANSWERS[model].model_dump_json(exclude_none=True))
        Draft202012Validator(FORMER[f"{subject}.{part}"]).validate(document)


def _renamed(schema: Schema) -> None:
    schema["properties"]["sum"] = schema["properties"].pop("amount")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_renamed, [".amount is gone"]),
        (lambda schema: schema["required"].append("note"), [".note has to be said"]),
        (lambda schema: schema["properties"].update(note={"type": "string"}), []),
        (lambda schema: schema["properties"]["amount"].update(type="string"), [".amount was integer, is string"]),
        (lambda schema: schema["properties"]["amount"].update(maximum=5), [".amount had maximum None, has 5"]),
        (lambda schema: schema["required"].remove("amount"), [".amount may be left out"]),
    ],
)
def test_a_change_that_one_of_them_cannot_live_with_is_seen(change: Callable[[Schema], Any], said: list[str]) -> None:
    former: Schema = {"type": "object", "properties": {"amount": {"type": "integer"}}, "required": ["amount"]}
    today = copy.deepcopy(former)
    change(today)
    assert differences(former, today) == said
