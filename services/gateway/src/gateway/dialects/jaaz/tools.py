"""What a model may call for while it talks about a canvas: a picture, or a film. Each is an order as any other."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from contracts.facts import Input, Kind
from contracts.questions import CatalogModel
from contracts.talking import Call, Tool
from gateway.dialects.jaaz.talk import DIALECT
from gateway.inputs import FILE_PATH
from gateway.orders import Order
from gateway.refusals import Invalid

ROUTE = "tool call"
MAX_PROMPT_CHARACTERS = 4000
MAX_MODELS = 20
"""That one tool offers, the default first."""
_KINDS = {"generate_image": Kind.IMAGE, "generate_video": Kind.VIDEO}
_WORDS = {
    Kind.IMAGE: "Draws one picture and puts it on the user's canvas. Call it once for each picture that is wanted.",
    Kind.VIDEO: "Makes one short film and puts it on the user's canvas.",
}
_PROMPT = "What is to be seen, described in full: nothing else of this conversation is known to whoever makes it."


@dataclass(frozen=True, slots=True)
class Toolbox:
    """The models that may be called for, by kind."""

    models: tuple[CatalogModel, ...]

    def tools(self) -> tuple[Tool, ...]:
        """One for each kind that there is a model of."""
        return tuple(
            Tool(name=name, description=_WORDS[kind], parameters=_parameters(kind, offered))
            for name, kind in _KINDS.items()
            if (offered := self.of(kind))
        )

    def of(self, kind: Kind) -> list[CatalogModel]:
        return [model for model in self.models if model.kind is kind]

    def order(self, call: Call, traceparent: str | None) -> Order:
        """What a call asks for. A model is no more believed than a user is. Raises Invalid."""
        kind = _KINDS.get(call.name)
        if kind is None or not self.of(kind):
            raise Invalid(f"There is no tool {call.name[:40]!r}.")
        said = _arguments(call)
        prompt, model, size, seconds = (said.get(name) for name in ("prompt", "model", "size", "seconds"))
        if not isinstance(prompt, str) or not isinstance(model, str | None) or not isinstance(size, str | None):
            raise Invalid("prompt: a text; model and size: texts, or left out")
        if isinstance(seconds, bool) or not isinstance(seconds, int | None):
            raise Invalid("seconds: a whole number, or left out")
        if model and model not in {each.id for each in self.of(kind)}:
            raise Invalid(f"model: one of {', '.join(each.id for each in self.of(kind)[:MAX_MODELS])}")
        inputs = _inputs(said.get("image_id"), kind)
        default = next((each for each in self.of(kind) if inputs and _role(kind) in each.inputs), self.of(kind)[0])
        return Order(
            dialect=DIALECT,
            route=ROUTE,
            kind=kind,
            prompt=prompt[:MAX_PROMPT_CHARACTERS],
            model=model or default.id,
            size=size or None,
            seconds=seconds if kind is Kind.VIDEO else None,
            inputs=inputs,
            traceparent=traceparent,
        )


def toolbox(models: Sequence[CatalogModel], wanted: Collection[str] | None) -> Toolbox:
    """Of the models of these names; of all that make something of words alone where nobody chose."""
    return Toolbox(
        tuple(
            model
            for model in models
            if model.kind in _KINDS.values()
            and model.state == "active"
            and not model.needs
            and (wanted is None or model.id in wanted)
        )
    )


def names_in(tools: Sequence[Tool]) -> set[str]:
    """The models that tools of ours offer."""
    properties: list[Any] = [tool.parameters["properties"] for tool in tools]
    return {name for each in properties for name in each["model"]["enum"]}


def _parameters(kind: Kind, models: Sequence[CatalogModel]) -> dict[str, Any]:
    sizes = sorted({size for model in models for size in model.sizes})
    properties: dict[str, Any] = {
        "prompt": {"type": "string", "description": _PROMPT, "maxLength": MAX_PROMPT_CHARACTERS},
        "model": {"type": "string", "enum": [model.id for model in models[:MAX_MODELS]]},
    }
    if sizes:
        properties["size"] = {"type": "string", "enum": sizes, "description": "Width and height in pixels."}
    if kind is Kind.VIDEO:
        longest = max((max(model.seconds, default=0) for model in models), default=0)
        properties["seconds"] = {"type": "integer", "minimum": 1, "maximum": max(1, longest)}
    able = [model.id for model in models if _role(kind) in model.inputs]
    if able:
        words = "A picture to start from, by the id that was said when it was drawn, or by its file_id; only with "
        words += f"{', '.join(able[:MAX_MODELS])}, the first of which is the default then."
        properties["image_id"] = {"type": "string", "description": words}
    return {"type": "object", "properties": properties, "required": ["prompt"], "additionalProperties": False}


def _inputs(image_id: object, kind: Kind) -> tuple[Input, ...]:
    if image_id is None or image_id == "":
        return ()
    try:
        # By its path: of a file that its user brought, clients know another id than its asset's.
        return (Input(role=_role(kind), url=f"{FILE_PATH}{UUID(str(image_id))}"),)
    except ValueError as error:
        raise Invalid("image_id: the id of a picture on the canvas") from error


def _role(kind: Kind) -> Any:
    return "image" if kind is Kind.IMAGE else "first_frame"


def _arguments(call: Call) -> dict[str, Any]:
    try:
        said = json.loads(call.arguments)
    except (ValueError, RecursionError) as error:
        raise Invalid("The arguments are not JSON.") from error
    if not isinstance(said, dict):
        raise Invalid("The arguments are not an object.")
    return said
