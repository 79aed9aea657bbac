"""OpenAI images: `POST /openai/v1/images/generations` (providers.md §2), with the retired DALL·E models as legacy."""

from __future__ import annotations

from typing import Any

from simulator.calls import Call
from simulator.exchange import Made, Order
from simulator.fields import Fields, InvalidFieldError
from simulator.latency import OPENAI_LOW_QUALITY, OPENAI_PICTURE
from simulator.models import OPENAI_MODELS, OpenAIModel, Size, fits_openai_grid, read_size
from simulator.pictures import Recipe
from simulator.refusals import Refusal

_COMMON = frozenset({"model", "prompt", "n", "size", "quality", "user"})
_LEGACY = frozenset({"response_format", "style"})
_CURRENT = frozenset(
    {"background", "output_format", "output_compression", "moderation", "partial_images", "stream", "safety_identifier"}
)
_INVALID_REQUEST = "invalid_request_error"
_TOKENS_OF_QUALITY = {"low": 272, "medium": 1056, "high": 4160, "auto": 1056}

_REFUSALS: dict[str, tuple[int, str | None, str, str]] = {
    "401": (401, "invalid_api_key", "The API key is missing or incorrect.", _INVALID_REQUEST),
    "403": (403, "unsupported_country_region_territory", "The request is not allowed here.", "request_forbidden"),
    "404": (
        404,
        "model_not_found",
        "The model `{model}` does not exist or you have no access to it.",
        _INVALID_REQUEST,
    ),
    "413": (413, "request_too_large", "The request body is too large.", _INVALID_REQUEST),
    "422": (422, "unprocessable_entity", "The request cannot be processed.", _INVALID_REQUEST),
    "moderated": (
        400,
        "moderation_blocked",
        "The request was rejected by the safety system.",
        "image_generation_user_error",
    ),
    "moderated-output": (
        400,
        "moderation_blocked",
        "The picture was rejected by the safety system.",
        "image_generation_user_error",
    ),
    "429": (429, "rate_limit_exceeded", "Rate limit reached for images per minute.", "requests"),
    "quota": (
        429,
        "insufficient_quota",
        "The current quota is exceeded; check plan and billing.",
        "insufficient_quota",
    ),
    "500": (500, None, "The server had an error while processing the request.", "server_error"),
    "502": (502, None, "Bad gateway.", "server_error"),
    "503": (503, None, "The engine is overloaded, try again later.", "server_error"),
    "504": (504, None, "The server did not answer in time.", "server_error"),
}
_KINDS = {
    "missing": ("missing_required_parameter", "Missing required parameter: '{field}'."),
    "unknown": ("unknown_parameter", "Unknown parameter: '{field}'."),
    "type": ("invalid_type", "Invalid type for '{field}': it {reason}."),
    "value": ("invalid_value", "Invalid value for '{field}': it {reason}."),
}


class OpenAIImages:
    provider = "openai"
    url_seconds = 60 * 60

    async def read(self, call: Call) -> Order:
        fields = Fields(call.json(), _COMMON | _LEGACY | _CURRENT)
        name = fields.required_text("model", 200)
        model = OPENAI_MODELS.get(name)
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
        }
        form, file_format, compression = "b64_json", "png", 100
        if model.legacy:
            form = fields.choice("response_format", ("url", "b64_json"), "url")
            fields.choice("style", model.styles, "")
        else:
            file_format, compression = _current(fields, model, options)
        transparent = options.get("background") == "transparent"
        recipes = tuple(
            Recipe(prompt, width, height, index, -1, file_format, max(1, compression), transparent=transparent)
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
        )

    def invalid(self, error: InvalidFieldError) -> Refusal:
        code, message = _KINDS[error.kind]
        return Refusal(400, code, message.format(field=error.field, reason=error.reason), error.field, _INVALID_REQUEST)

    def refusal(self, fault: str, model: str) -> Refusal:
        name = "moderated" if fault == "fail-every" else "429" if fault.startswith("429") else fault
        status, code, message, kind = _REFUSALS[name]
        if name.startswith("moderated") and model.startswith("dall-e"):
            code, kind = "content_policy_violation", _INVALID_REQUEST
        return Refusal(status, code, message.format(model=model), None, kind)

    def error(self, refusal: Refusal, request_id: str) -> dict[str, Any]:
        return {
            "error": {"message": refusal.message, "type": refusal.kind, "param": refusal.param, "code": refusal.code}
        }

    def answer(self, order: Order, made: list[Made], created: int) -> dict[str, Any]:
        """A blocked item is simply missing: OpenAI has no per-item errors."""
        data: list[dict[str, Any]] = [{order.form: item.content} for item in made if not item.error]
        if order.options["revises"]:
            for entry in data:
                entry["revised_prompt"] = f"{order.prompt.strip().rstrip('.')}, in careful detail and natural light."
        answer: dict[str, Any] = {"created": created, "data": data}
        if order.options["legacy"]:
            return answer
        options = order.options
        asked = len(order.prompt) // 4 + 1
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
                "input_tokens_details": {"text_tokens": asked, "image_tokens": 0},
            },
        }

    def headers(self, request_id: str, seconds: float) -> dict[str, str]:
        return {
            "x-request-id": f"req_{request_id}",
            "openai-processing-ms": str(round(seconds * 1000)),
            "openai-version": "2020-10-01",
            "openai-organization": "simulator",
        }


def _current(fields: Fields, model: OpenAIModel, options: dict[str, Any]) -> tuple[str, int]:
    """The fields of the GPT image models; returns file format and compression, and notes what the answer echoes."""
    if fields.flag("stream", default=False):
        raise fields.invalid("stream", "value", "true is not offered by this simulator")
    if fields.whole("partial_images", 0, 3, 0):
        raise fields.invalid("partial_images", "value", "needs stream")
    background = fields.choice("background", ("transparent", "opaque", "auto"), "auto")
    file_format = fields.choice("output_format", model.formats, "png")
    compression = fields.whole("output_compression", 0, 100, 100)
    if file_format == "png" and compression != 100:
        raise fields.invalid("output_compression", "value", "is for jpeg and webp")
    if background == "transparent" and file_format == "jpeg":
        raise fields.invalid("background", "value", "transparent needs png or webp")
    fields.choice("moderation", ("auto", "low"), "auto")
    fields.text("safety_identifier", "", 64)
    options |= {"background": background, "output_format": file_format}
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
