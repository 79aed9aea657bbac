"""OpenAI images: `POST /openai/v1/images/generations` (providers.md §2), with the retired DALL·E models as legacy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from simulator.calls import Call
from simulator.exchange import Made, Order
from simulator.fields import Fields
from simulator.given import sides, small
from simulator.latency import OPENAI_LOW_QUALITY, OPENAI_PICTURE
from simulator.models import ANY, OPENAI_MODELS, OpenAIModel, Size, fits_openai_grid, read_size
from simulator.openai_words import OpenAIWords
from simulator.pictures import Recipe

_COMMON = frozenset({"model", "prompt", "n", "size", "quality", "user"})
_LEGACY = frozenset({"response_format", "style"})
_CURRENT = frozenset(
    {"background", "output_format", "output_compression", "moderation", "partial_images", "stream", "safety_identifier"}
)
_EDITED = _COMMON | _LEGACY | _CURRENT | {"input_fidelity"}
GIVEN_MAX = 16
_TOKENS_OF_GIVEN = 323
_TOKENS_OF_QUALITY = {"low": 272, "medium": 1056, "high": 4160, "auto": 1056}


class OpenAIImages(OpenAIWords):
    url_seconds = 60 * 60
    verb = "image_generation"

    def __init__(self, provider: str = "openai", models: Mapping[str, OpenAIModel] = OPENAI_MODELS) -> None:
        super().__init__(provider)
        self._models = models

    async def read(self, call: Call) -> Order:
        return self._order(Fields(call.json(), _COMMON | _LEGACY | _CURRENT), ())

    def _order(self, fields: Fields, given: Sequence[bytes]) -> Order:
        name = fields.required_text("model", 200)
        model = self._models.get(name) or self._models.get(ANY)
        if model is None:
            raise self.refusal("404", name)
        for foreign in sorted(_CURRENT if model.legacy else _LEGACY):
            if fields.has(foreign):
                raise fields.invalid(foreign, "unknown", "is not a parameter of this model")
        prompt = fields.required_text("prompt", model.prompt_characters_max)
        pictures = fields.whole("n", 1, model.pictures_max, 1)
        width, height = _size(fields, model)
        quality = fields.choice("quality", model.qualities, model.default_quality)
        fields.text("user", "", 512)
        options = {
            "quality": quality,
            "size": f"{width}x{height}",
            "legacy": model.legacy,
            "revises": model.revises_prompt,
            "given": len(given),
        }
        form, file_format, compression = "b64_json", "png", 100
        if model.legacy:
            form = fields.choice("response_format", ("url", "b64_json"), "url")
            fields.choice("style", model.styles, "")
        else:
            file_format, compression = _current(fields, model, options)
        transparent = options.get("background") == "transparent"
        recipes = tuple(
            Recipe(
                prompt,
                width,
                height,
                index,
                -1,
                file_format,
                max(1, compression),
                transparent=transparent,
                given=given[0] if given else b"",
            )
            for index in range(pictures)
        )
        return Order(
            model=name,
            prompt=prompt,
            recipes=recipes,
            form="url" if form == "url" else "b64_json",
            spread=OPENAI_LOW_QUALITY if quality == "low" else OPENAI_PICTURE,
            serial_pictures=1,
            options=options,
            events=self._events if options.get("streamed") else None,
        )

    def _events(self, order: Order, made: list[Made], created: int) -> list[dict[str, Any]]:
        """Each picture a few times before it is finished; of one that is blocked nothing is heard."""
        whole = self.answer(order, made, created)
        about = {name: whole[name] for name in ("background", "output_format", "quality", "size")}
        about["created_at"] = created
        events: list[dict[str, Any]] = []
        for item in (item for item in made if not item.error):
            one = about | {"b64_json": item.content}
            partial = one | {"type": f"{self.verb}.partial_image"}
            events += [partial | {"partial_image_index": index} for index in range(order.options["shown"])]
            events.append(one | {"type": f"{self.verb}.completed", "usage": whole["usage"]})
        return events

    def answer(self, order: Order, made: list[Made], created: int) -> dict[str, Any]:
        """A blocked item is simply missing: OpenAI has no per-item errors."""
        data: list[dict[str, Any]] = [{order.form: item.content} for item in made if not item.error]
        if order.options["revises"]:
            for entry in data:
                entry["revised_prompt"] = f"{order.prompt.strip().rstrip('.')}, in careful detail and natural light."
        answer: dict[str, Any] = {"created": created, "data": data}
        options = order.options
        if options["legacy"]:
            return answer
        read = _TOKENS_OF_GIVEN * options["given"]
        asked = len(order.prompt) // 4 + 1 + read
        area = sum(item.recipe.width * item.recipe.height for item in made if not item.error)
        drawn = _TOKENS_OF_QUALITY[options["quality"]] * area // (1024 * 1024)
        quality = "medium" if options["quality"] == "auto" else options["quality"]
        background = "opaque" if options["background"] == "auto" else options["background"]
        return answer | {
            "background": background,
            "output_format": options["output_format"],
            "quality": quality,
            "size": options["size"],
            "usage": {
                "input_tokens": asked,
                "output_tokens": drawn,
                "total_tokens": asked + drawn,
                "input_tokens_details": {"text_tokens": asked - read, "image_tokens": read},
            },
        }


class OpenAIEdits(OpenAIImages):
    """`POST /images/edits`: a form with pictures in it."""

    verb = "image_edit"

    async def read(self, call: Call) -> Order:
        form = await call.form()
        pictures = form.pop("image", "image[]")
        masks = form.pop("mask")
        fields = Fields(form.values({"n", "output_compression", "partial_images"}, {"stream"}), _EDITED)
        call.prompt, call.model = fields.text("prompt", "", 100_000), fields.text("model", "")
        if not 1 <= len(pictures) <= GIVEN_MAX:
            raise fields.invalid("image", "value" if pictures else "missing", f"must be 1 to {GIVEN_MAX} pictures")
        model = self._models.get(call.model)
        if model is not None and model.legacy and call.model != "dall-e-2":
            raise fields.invalid("model", "value", "does not edit")
        try:
            given = [small(picture) for picture in pictures]
            if len(masks) > 1 or any(sides(mask) != sides(pictures[0]) for mask in masks):
                raise ValueError("needs one mask of the same size")
        except ValueError as error:
            raise fields.invalid("image", "value", str(error)) from None
        return self._order(fields, given)


def _current(fields: Fields, model: OpenAIModel, options: dict[str, Any]) -> tuple[str, int]:
    """The fields of the GPT image models; returns file format and compression, and notes what the answer echoes."""
    streamed, shown = fields.flag("stream", default=False), fields.whole("partial_images", 0, 3, 0)
    if shown and not streamed:
        raise fields.invalid("partial_images", "value", "needs stream")
    background = fields.choice("background", ("transparent", "opaque", "auto"), "auto")
    file_format = fields.choice("output_format", model.formats, "png")
    compression = fields.whole("output_compression", 0, 100, 100)
    if file_format == "png" and compression != 100:
        raise fields.invalid("output_compression", "value", "is for jpeg and webp")
    if background == "transparent" and file_format == "jpeg":
        raise fields.invalid("background", "value", "transparent needs png or webp")
    fields.choice("moderation", ("auto", "low"), "auto")
    fields.choice("input_fidelity", ("low", "high"), "low")
    fields.text("safety_identifier", "", 64)
    options |= {"background": background, "output_format": file_format, "streamed": streamed, "shown": shown}
    return file_format, compression


def _size(fields: Fields, model: OpenAIModel) -> Size:
    text = fields.text("size", "auto")
    if not fields.has("size") or (text == "auto" and not model.legacy):
        return model.default_size
    size = read_size(text)
    if model.sizes and text not in model.sizes:
        raise fields.invalid("size", "value", f"must be one of {', '.join(sorted(model.sizes))}")
    if size is None or (not model.sizes and not fits_openai_grid(size)):
        raise fields.invalid("size", "value", "must be WxH in multiples of 16, 1:3 to 3:1, at most 3840x2160")
    return size
