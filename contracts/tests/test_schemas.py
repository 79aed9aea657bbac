"""The exported documents say what the contracts say, and every reader understands every writer."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from contracts.facts import FACTS, Event
from contracts.progress import Progress
from contracts.questions import QUESTIONS
from contracts.tests.samples import ANSWERS, GENERATION, SAMPLES
from darkroom.schemas.documents import SCHEMAS_FOLDER, contract_documents, json_schemas, openapi_documents, repository

SCHEMAS = json_schemas()


def test_the_exported_documents_are_those_of_today() -> None:
    root = repository()
    documents = contract_documents() | openapi_documents()
    stale = [
        name
        for name, text in documents.items()
        if not (root / name).exists() or (root / name).read_text(encoding="utf-8") != text
    ]
    assert stale == [], "run `make schemas`"
    exported = {str(path.relative_to(root)) for path in (root / SCHEMAS_FOLDER).glob("*.json")}
    assert exported <= documents.keys(), "documents of something that is gone"


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_document_is_a_schema(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])


def test_every_fact_has_a_sample() -> None:
    assert {type(sample) for sample in SAMPLES} == set(FACTS)
    assert {model for pair in QUESTIONS.values() for model in pair} == ANSWERS.keys()


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_a_sample_is_what_its_schema_says(sample: Event) -> None:
    document = json.loads(sample.encode())
    schema = SCHEMAS[type(sample).__name__.lower()]
    Draft202012Validator(schema).validate(document)
    del document["data"]
    assert list(Draft202012Validator(schema).iter_errors(document)), "the schema would accept anything"


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: type(sample).__name__)
def test_every_reader_understands_every_writer_of_tomorrow(sample: Event) -> None:
    """P23: a newer writer adds fields, on the envelope and inside; an older reader passes over them."""
    assert type(sample).decode(sample.encode()) == sample
    document = json.loads(sample.encode())
    _add_unknown_fields(document)
    Draft202012Validator(SCHEMAS[type(sample).__name__.lower()]).validate(document)
    assert type(sample).decode(json.dumps(document).encode()) == sample


@pytest.mark.parametrize("subject", sorted(QUESTIONS))
def test_questions_and_answers_are_what_their_schemas_say(subject: str) -> None:
    for model, part in zip(QUESTIONS[subject], ("question", "answer"), strict=True):
        document = json.loads(ANSWERS[model].model_dump_json(exclude_none=True))
        Draft202012Validator(SCHEMAS[f"{subject}.{part}"]).validate(document)
        _add_unknown_fields(document)
        assert model.model_validate(document) == ANSWERS[model]


def test_progress_is_what_its_schema_says() -> None:
    progress = Progress(generation_id=GENERATION, number=1, stage="rendering", percent=100)
    validator = Draft202012Validator(SCHEMAS["progress"])
    validator.validate(json.loads(progress.model_dump_json()))
    assert not validator.is_valid(json.loads(progress.model_dump_json()) | {"percent": 101})


def _add_unknown_fields(document: Any) -> None:
    if isinstance(document, dict):
        for key, value in document.items():
            if key not in {"options", "variants", "prices", "fields"}:  # whose keys are data
                _add_unknown_fields(value)
        if not {"seed", "thumbnail", "a-model", "watermark"} & document.keys():
            document["of_tomorrow"] = {"much": ["more"]}
    elif isinstance(document, list):
        for item in document:
            _add_unknown_fields(item)
