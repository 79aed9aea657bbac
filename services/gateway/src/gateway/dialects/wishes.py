"""What a free `input` of another API asks for, in the words of an order.

Replicate and fal give every model fields of its own; they differ in names more than in meaning. What none of the names
here catches goes on as an option, of which a provider's adapter takes what it knows.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from contracts.facts import Input, Kind, Role
from contracts.questions import CatalogModel
from contracts.talking import Message
from gateway.orders import unfit
from gateway.refusals import Invalid

_PROMPTS = ("prompt", "text")
_COUNTS = ("num_outputs", "num_images", "n")
_DURATIONS = ("duration", "seconds")
_LONGEST_TEXTS = ("max_tokens", "max_new_tokens", "max_completion_tokens")
_SIZES = ("size", "image_size")
_RATIOS = {
    "square": "1:1",
    "square_hd": "1:1",
    "portrait_4_3": "3:4",
    "portrait_16_9": "9:16",
    "landscape_4_3": "4:3",
    "landscape_16_9": "16:9",
}
"""fal's words."""
_FIRST: tuple[Role, ...] = ("first_frame", "image")
_ROLES: Mapping[str, tuple[Role, ...]] = {
    **dict.fromkeys(("image", "image_url", "image_urls", "images", "input_image", "image_input"), _FIRST),
    **dict.fromkeys(("start_image", "start_image_url", "first_frame_image", "first_frame_url"), _FIRST),
    **dict.fromkeys(("end_image", "end_image_url", "tail_image_url", "last_frame_image"), ("last_frame",)),
    **dict.fromkeys(("mask", "mask_url"), ("mask",)),
    **dict.fromkeys(("audio", "audio_url"), ("audio",)),
    **dict.fromkeys(("video", "video_url"), ("video",)),
}
"""What a model may start from, by the names of its field: as the first of these roles that the model has."""
INPUT_FIELDS = frozenset(_ROLES)
_CLOSE = 0.05
"""How far a size may be from the ratio that was asked, as a part of it."""


@dataclass(frozen=True, slots=True)
class Wish:
    """As an order has it."""

    prompt: str
    count: int
    size: str | None
    seconds: int | None
    inputs: tuple[Input, ...]
    messages: tuple[Message, ...]
    max_tokens: int | None
    options: dict[str, Any]


def wish_of(model: CatalogModel, given: Mapping[str, Any]) -> Wish:
    """What is asked of a model. Raises Invalid for a field that is not what its name says, or that cannot be kept."""
    problem = unfit(given)
    if problem is not None:
        raise invalid("input", problem)
    left = {name: value for name, value in given.items() if value is not None}
    inputs = tuple(_inputs(model, left))
    system = _text(left, "system_prompt") if model.kind is Kind.TEXT else None
    return Wish(
        prompt=next((text for name in _PROMPTS if (text := _text(left, name)) is not None), ""),
        count=_whole(left, _COUNTS) or 1,
        size=_size(model, left),
        seconds=_whole(left, _DURATIONS),
        inputs=inputs,
        # Clients send their field for it empty, and providers refuse a message that says nothing.
        messages=(Message(role="system", content=system),) if system and system.strip() else (),
        max_tokens=_whole(left, _LONGEST_TEXTS) if model.kind is Kind.TEXT else None,
        options=left,
    )


def named(models: list[CatalogModel], name: str) -> CatalogModel | None:
    """The model that another API's name means: `owner/` before it says nothing here, and `/` is a `-` of ours."""
    parts = name.split("/")
    candidates = (name, "/".join(parts[1:]), "-".join(parts[1:]))
    return next((model for wanted in candidates for model in models if model.id == wanted), None)


def _text(left: dict[str, Any], name: str) -> str | None:
    value = left.pop(name, None)
    if value is None or isinstance(value, str):
        return value
    raise invalid(name, "has to be a text")


def _whole(left: dict[str, Any], names: tuple[str, ...]) -> int | None:
    """A whole number, also as `5`, `5.0` or `5s` in a text."""
    found = None
    for name in names:
        value = left.pop(name, None)
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,6}s?", value):
            value = int(value.removesuffix("s"))
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int | None):
            raise invalid(name, "has to be a whole number")
        if value is not None and not 0 < value < 1_000_000:
            raise invalid(name, "has to be 1 or more")
        found = value if found is None else found
    return found


def _size(model: CatalogModel, left: dict[str, Any]) -> str | None:
    """A size as it stands, or the model's that is closest to a ratio. Raises Invalid for what it has nothing like."""
    asked = next((value for name in _SIZES if (value := left.pop(name, None)) is not None), None)
    sides = (left.pop("width", None), left.pop("height", None))
    if isinstance(asked, dict):
        sides, asked = (asked.get("width"), asked.get("height")), None
    if asked is None and sides != (None, None):
        if not all(isinstance(side, int) and not isinstance(side, bool) for side in sides):
            raise invalid("width", "has to be a whole number, and height with it")
        return f"{sides[0]}x{sides[1]}"
    shape = left.pop("aspect_ratio", None)
    ratio = shape if asked is None else _RATIOS.get(str(asked), asked)
    if not isinstance(ratio, str | None):
        raise invalid("aspect_ratio" if asked is None else "size", "has to be a text")
    found = re.fullmatch(r"([1-9][0-9]{0,3}):([1-9][0-9]{0,3})", ratio or "")
    if found is None or not model.sizes:
        left |= {"aspect_ratio": shape} if shape is not None else {}
        return None if asked is None else str(asked)
    return _closest(model, int(found[1]) / int(found[2]))


def _closest(model: CatalogModel, ratio: float) -> str:
    def distance(size: str) -> float:
        width, height = map(int, size.split("x"))
        return abs(width / height / ratio - 1)

    default = [model.default_size] if model.default_size else []
    size = min([*default, *model.sizes], key=distance)
    if distance(size) > _CLOSE:
        raise invalid("aspect_ratio", f"{model.id} has no size of that shape: {', '.join(model.sizes)}")
    return size


def _inputs(model: CatalogModel, left: dict[str, Any]) -> list[Input]:
    found = []
    for name in [name for name in left if name in _ROLES]:
        value = left.pop(name)
        addresses = value if isinstance(value, list) else [value]
        if not all(isinstance(address, str) for address in addresses):
            raise invalid(name, "has to be an address")
        role = next((role for role in _ROLES[name] if role in model.inputs), _ROLES[name][-1])
        found += [Input(role=role, url=cast("str", address)) for address in addresses if address]
    return found


def invalid(field: str, message: str) -> Invalid:
    return Invalid(f"{field}: {message}", details={"errors": [{"field": field, "message": message}]})
