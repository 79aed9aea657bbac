"""The catalog as Replicate shows models: whoever the owner is said to be, the name decides."""

from datetime import UTC, datetime
from typing import Any

from contracts.facts import Kind
from contracts.questions import CatalogModel
from gateway.dialects.replicate.schemas import Model, Version
from gateway.dialects.surface import Surface
from gateway.dialects.wishes import named
from gateway.refusals import NotFound

OWNER = "darkroom"
PREFIX = "/replicate/v1"
_COG = "0.16.0"
"""The first whose schemas need no mending by the client."""
_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
"""The catalog keeps no dates, and the client wants one."""
_FILE = {"type": "string", "format": "uri"}
_OUTPUTS: dict[Kind, dict[str, Any]] = {
    Kind.IMAGE: {"type": "array", "items": _FILE},
    Kind.VIDEO: _FILE,
    Kind.SPEECH: _FILE,
    Kind.TEXT: {"type": "string"},
}


def find(surface: Surface, name: str) -> CatalogModel:
    """Raises NotFound."""
    model = named([model for model, _ in surface.queries.models()], name.partition(":")[0])
    if model is None:
        raise NotFound("There is no such model.")
    return model


def model_view(surface: Surface, model: CatalogModel) -> Model:
    return Model(
        url=f"{surface.addresses.public_url.rstrip('/')}{PREFIX}/models/{OWNER}/{model.id}",
        owner=OWNER,
        name=model.id,
        description=f"Makes {model.kind}, by {model.provider}.",
        latest_version=version_view(model),
    )


def version_view(model: CatalogModel) -> Version:
    schemas = {"Input": _input(model), "Output": {"title": "Output", **_OUTPUTS[model.kind]}}
    schema = {"openapi": "3.0.2", "info": {"title": model.id, "version": "1"}, "paths": {}}
    return Version(
        id=model.id,
        created_at=_BEGINNING,
        cog_version=_COG,
        openapi_schema={**schema, "components": {"schemas": schemas}},
    )


def _input(model: CatalogModel) -> dict[str, Any]:
    fields: dict[str, Any] = {"prompt": {"type": "string", "maxLength": model.max_prompt_characters}}
    if model.max_count > 1:
        fields["num_outputs"] = {"type": "integer", "minimum": 1, "maximum": model.max_count, "default": 1}
    if model.sizes:
        fields["size"] = {"type": "string", "enum": list(model.sizes), "default": model.default_size}
    if model.seconds:
        fields["duration"] = {"type": "integer", "minimum": 1, "maximum": max(model.seconds)}
    if model.max_tokens:
        fields["max_tokens"] = {"type": "integer", "minimum": 1, "maximum": model.max_tokens}
    if model.voices:
        fields["voice"] = {"type": "string", "enum": list(model.voices)}
    fields |= {_FIELDS[role]: _FILE for role in model.inputs}
    needed = ["prompt", *(_FIELDS[role] for role in model.needs)]
    return {"title": "Input", "type": "object", "required": needed, "properties": fields}


_FIELDS = {
    "image": "image",
    "first_frame": "start_image",
    "last_frame": "end_image",
    "mask": "mask",
    "audio": "audio",
    "video": "video",
}
