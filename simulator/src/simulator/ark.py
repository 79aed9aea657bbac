"""ModelArk images: `POST /ark/api/v3/images/generations` (providers.md §1.1, §1.3)."""

from __future__ import annotations

from typing import Any

from simulator.calls import Call
from simulator.exchange import Made, Order
from simulator.fields import Fields, InvalidFieldError
from simulator.given import Fetch, read_given
from simulator.latency import ARK_PICTURE
from simulator.models import ArkModel, Size, find_ark_model, fits_ark_model, read_size, tier_size
from simulator.pictures import Recipe
from simulator.refusals import Refusal

PROMPT_CHARACTERS_MAX = 10_000
GROUP_PICTURES_MAX = 15
SEED_MAX = 2**31 - 1
_KNOWN = frozenset(
    {
        "model", "prompt", "image", "size", "seed", "guidance_scale", "watermark", "response_format",
        "sequential_image_generation", "sequential_image_generation_options", "stream", "optimize_prompt",
        "optimize_prompt_options", "output_format", "tools", "layer_decomposition", "background",
    }
)  # fmt: skip
_BLOCKED_ITEM = ("OutputImageSensitiveContentDetected", "The generated image may contain sensitive information.")
_FAILED_ITEM = ("InternalServiceError", "The service met an internal error.")

_REFUSALS: dict[str, tuple[int, str, str, str]] = {
    "401": (401, "AuthenticationError", "The API key is missing or invalid.", "Unauthorized"),
    "403": (403, "OperationDenied.PermissionDenied", "The account may not use this model.", "Forbidden"),
    "404": (404, "InvalidEndpointOrModel.NotFound", "The model {model} does not exist or is not open.", "NotFound"),
    "413": (413, "InvalidParameter.RequestBody", "The request body is too large.", "BadRequest"),
    "422": (422, "InvalidParameter", "The request cannot be processed.", "BadRequest"),
    "moderated": (
        400,
        "InputTextSensitiveContentDetected",
        "The prompt may contain sensitive information.",
        "BadRequest",
    ),
    "moderated-output": (400, *_BLOCKED_ITEM, "BadRequest"),
    "429": (
        429,
        "ModelAccountIpmRateLimitExceeded",
        "The images per minute of this account are used up.",
        "TooManyRequests",
    ),
    "quota": (429, "SetLimitExceeded", "The spending limit set for this model is reached.", "TooManyRequests"),
    "500": (500, *_FAILED_ITEM, "InternalServerError"),
    "502": (502, "InternalServiceError", "Bad gateway.", "InternalServerError"),
    "503": (503, "ServerOverloaded", "The service is overloaded.", "TooManyRequests"),
    "504": (504, "InternalServiceError", "The service did not answer in time.", "InternalServerError"),
}


class Ark:
    provider = "ark"
    url_seconds = 24 * 3600

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    async def read(self, call: Call) -> Order:
        fields = Fields(call.json(), _KNOWN)
        name = fields.required_text("model", 200)
        prompt = fields.required_text("prompt", PROMPT_CHARACTERS_MAX)
        model = find_ark_model(name)
        if model is None:
            raise self.refusal("404", name)
        _refuse_foreign_fields(fields, model)
        streamed = fields.flag("stream", default=False)
        given = await self._given(fields, model)
        inputs = len(given)
        width, height = _size(fields, model, prompt)
        pictures = _pictures(fields, model, inputs)
        seed = fields.whole("seed", -1, SEED_MAX, -1)
        guidance = fields.number("guidance_scale", 1, 10, 2.5)
        watermark = fields.flag("watermark", default=True)
        form = fields.choice("response_format", ("url", "b64_json"), "url")
        file_format = fields.choice("output_format", model.formats, "jpeg")
        fields.part("optimize_prompt_options", {"mode"}).choice("mode", model.prompt_modes, "standard")
        recipes = tuple(
            Recipe(prompt, width, height, index, seed, file_format, watermark=watermark, given=next(iter(given), b""))
            for index in range(pictures)
        )
        return Order(
            model=name,
            prompt=prompt,
            recipes=recipes,
            form="url" if form == "url" else "b64_json",
            spread=ARK_PICTURE,
            serial_pictures=pictures,
            options={"inputs": inputs, "guidance_scale": guidance, "formats": model.formats},
            seeded=seed >= 0,
            events=self._events if streamed else None,
        )

    def invalid(self, error: InvalidFieldError) -> Refusal:
        code = "MissingParameter" if error.kind == "missing" else "InvalidParameter"
        return Refusal(400, code, f"The parameter `{error.field}` {error.reason}.", error.field, "BadRequest")

    def refusal(self, fault: str, model: str) -> Refusal:
        name = "moderated" if fault == "fail-every" else "429" if fault.startswith("429") else fault
        status, code, message, kind = _REFUSALS[name]
        return Refusal(status, code, message.format(model=model), "", kind)

    def error(self, refusal: Refusal, request_id: str) -> dict[str, Any]:
        return {
            "error": {
                "code": refusal.code,
                "message": f"{refusal.message} Request id: {request_id}",
                "param": refusal.param or "",
                "type": refusal.kind,
            }
        }

    def answer(self, order: Order, made: list[Made], created: int) -> dict[str, Any]:
        sound = [item.recipe for item in made if not item.error]
        tokens = sum(recipe.width * recipe.height // 256 for recipe in sound)
        usage = {"generated_images": len(sound), "output_tokens": tokens, "total_tokens": tokens}
        if order.options["inputs"]:
            usage["input_images"] = order.options["inputs"]
        return {"model": order.model, "created": created, "data": [_item(order, item) for item in made], "usage": usage}

    def _events(self, order: Order, made: list[Made], created: int) -> list[dict[str, Any]]:
        about = {"model": order.model, "created": created}
        events = []
        for index, item in enumerate(made):
            kind = "partial_failed" if item.error else "partial_succeeded"
            events.append({"type": f"image_generation.{kind}", **about, "image_index": index, **_item(order, item)})
        usage = self.answer(order, made, created)["usage"]
        return [*events, {"type": "image_generation.completed", **about, "usage": usage}]

    def headers(self, request_id: str, seconds: float) -> dict[str, str]:
        return {"X-Request-Id": request_id}

    async def _given(self, fields: Fields, model: ArkModel) -> list[bytes]:
        """The reference images that came along."""
        value = fields.get("image")
        if value is None:
            return []
        images = value if isinstance(value, list) else [value]
        if not 1 <= len(images) <= model.images_max:
            raise fields.invalid("image", "value", f"must be 1 to {model.images_max} images")
        if not all(isinstance(image, str) for image in images):
            raise fields.invalid("image", "type", "must be a string or a list of strings")
        try:
            return [await read_given(image, self._fetch) for image in images]
        except ValueError as error:
            raise fields.invalid("image", "value", str(error)) from None


def _item(order: Order, item: Made) -> dict[str, Any]:
    if item.error:
        code, message = _BLOCKED_ITEM if item.error == "blocked" else _FAILED_ITEM
        return {"error": {"code": code, "message": message}}
    entry = {order.form: item.content, "size": f"{item.recipe.width}x{item.recipe.height}"}
    if order.options["formats"]:
        entry["output_format"] = item.recipe.format
    return entry


def _refuse_foreign_fields(fields: Fields, model: ArkModel) -> None:
    reason = "is not supported by this model"
    offered = {
        "seed": model.seeded,
        "guidance_scale": model.seeded,
        "sequential_image_generation": model.groups or fields.get("sequential_image_generation") == "disabled",
        "sequential_image_generation_options": model.groups,
        "stream": model.groups or fields.get("stream") is False,
        "image": model.images_max > 0,
        "output_format": bool(model.formats),
        "optimize_prompt": False,
        "optimize_prompt_options": bool(model.prompt_modes),
        "tools": model.web_search,
        "layer_decomposition": model.layers,
        "background": model.layers,
    }
    fields.refuse(*(name for name, possible in offered.items() if not possible), reason=reason)
    tools = fields.get("tools")
    if tools is not None and tools != [{"type": "web_search"}]:
        raise fields.invalid("tools", "value", "must be a list with one web_search")


def _size(fields: Fields, model: ArkModel, prompt: str) -> Size:
    text = fields.text("size", "")
    if not fields.has("size"):
        return model.default_size
    side = model.tiers.get(text.lower())
    if side is not None:
        return tier_size(side, prompt)
    size = read_size(text)
    if size is None:
        raise fields.invalid("size", "value", f"must be WxH or one of {', '.join(model.tiers).upper() or 'no tiers'}")
    if not fits_ark_model(size, model):
        raise fields.invalid("size", "value", f"{text} is outside the limits of this model")
    return size


def _pictures(fields: Fields, model: ArkModel, inputs: int) -> int:
    mode = fields.choice("sequential_image_generation", ("disabled", "auto"), "disabled")
    options = fields.part("sequential_image_generation_options", {"max_images"})
    wanted = options.whole("max_images", 1, GROUP_PICTURES_MAX, GROUP_PICTURES_MAX - inputs)
    if mode == "disabled":
        return 1
    if wanted + inputs > GROUP_PICTURES_MAX:
        raise options.invalid("max_images", "value", f"plus the input images must be at most {GROUP_PICTURES_MAX}")
    return wanted
