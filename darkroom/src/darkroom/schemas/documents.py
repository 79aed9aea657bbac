"""Every exported document: its place in the repository and its text."""

import json
from pathlib import Path
from typing import Any

from pydantic import SecretStr

import contracts
from contracts.facts import FACTS
from contracts.model import Frozen
from contracts.progress import Progress
from contracts.questions import (
    QUESTIONS,
)
from darkroom.schemas.asyncapi import asyncapi
from darkroom.schemas.yaml_text import to_yaml

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCHEMAS_FOLDER = "contracts/schemas"
ASYNCAPI_FILE = "contracts/asyncapi.yaml"
OPENAPI_FILE = "docs/openapi.json"


def repository() -> Path:
    """The folder that the packages were installed from.

    Raises:
        FileNotFoundError: they were installed otherwise than from a working copy.
    """
    root = Path(contracts.__file__).resolve().parents[3]
    if not (root / "contracts" / "pyproject.toml").is_file():
        raise FileNotFoundError("the packages are not installed from a working copy of the repository")
    return root


def contract_documents() -> dict[str, str]:
    """Path → text of everything that follows from the contracts."""
    documents = {f"{SCHEMAS_FOLDER}/{name}.json": _json(schema) for name, schema in json_schemas().items()}
    documents[ASYNCAPI_FILE] = "# Exported by `darkroom schemas`.\n" + to_yaml(asyncapi())
    return documents


def openapi_documents() -> dict[str, str]:
    """Path → text of the gateway's HTTP interface, as an app says it that is never started."""
    from gateway.app import create_app
    from gateway.settings import (
        AddressSettings,
        LimitSettings,
        Settings,
        SweeperSettings,
        TokenSettings,
        WebhookSettings,
    )
    from runtime.outbound import OutboundSettings
    from runtime.settings import BrokerSettings, DatabaseSettings, ProcessSettings

    nowhere = DatabaseSettings(database_url=SecretStr("postgresql://localhost/none"))
    settings = Settings(
        BrokerSettings(),
        nowhere,
        ProcessSettings(),
        TokenSettings(),
        AddressSettings(),
        LimitSettings(),
        SweeperSettings(),
        WebhookSettings(),
        OutboundSettings(),
    )
    return {OPENAPI_FILE: _json(create_app(settings).openapi())}


def json_schemas() -> dict[str, dict[str, Any]]:
    """Name → JSON Schema (2020-12) of each fact, each question and its answer, and the progress message."""
    schemas = {fact.__name__.lower(): _schema(fact) for fact in FACTS}
    schemas["progress"] = _schema(Progress)
    for subject, (question, answer) in QUESTIONS.items():
        schemas[f"{subject}.question"] = _schema(question)
        schemas[f"{subject}.answer"] = _schema(answer)
    return schemas


def _schema(model: type[Frozen]) -> dict[str, Any]:
    return {"$schema": _DIALECT, **model.model_json_schema()}


def _json(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
