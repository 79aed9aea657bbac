"""What each model can do, as data (providers.md §1.1 and §2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

Size = tuple[int, int]

AREA_1K, AREA_2K, AREA_4K = 921_600, 3_686_400, 16_777_216


@dataclass(frozen=True, slots=True)
class ArkModel:
    """`tiers` maps a tier to the side of its square in pixels; sizes are bounded by area, for 3.0 by side instead."""

    tiers: Mapping[str, int]
    default_size: Size
    area_min: int
    area_max: int
    side_min: int = 15
    side_max: int = 16_384
    images_max: int = 0
    seeded: bool = False
    groups: bool = False
    formats: tuple[str, ...] = ()
    prompt_modes: tuple[str, ...] = ()
    web_search: bool = False
    layers: bool = False


def _tiers(**sides: int) -> Mapping[str, int]:
    return MappingProxyType({name.removeprefix("t").replace("_", ".").lower(): side for name, side in sides.items()})


_SEEDREAM_4 = ArkModel(
    tiers=_tiers(t1K=1024, t2K=2048, t4K=4096),
    default_size=(2048, 2048),
    area_min=AREA_1K,
    area_max=AREA_4K,
    images_max=14,
    groups=True,
    prompt_modes=("standard", "fast"),
)

ARK_MODELS: Mapping[str, ArkModel] = MappingProxyType(
    {
        "seedream-3-0-t2i-250415": ArkModel(
            tiers=_tiers(),
            default_size=(1024, 1024),
            area_min=512 * 512,
            area_max=2048 * 2048,
            side_min=512,
            side_max=2048,
            seeded=True,
        ),
        "seedream-4-0-250828": _SEEDREAM_4,
        "seedream-4-5-251128": ArkModel(
            tiers=_tiers(t2K=2048, t4K=4096),
            default_size=(2048, 2048),
            area_min=AREA_2K,
            area_max=AREA_4K,
            images_max=14,
            groups=True,
        ),
        "seedream-5-0-lite": ArkModel(
            tiers=_tiers(t2K=2048, t3K=3072, t4K=4096),
            default_size=(2048, 2048),
            area_min=AREA_2K,
            area_max=AREA_4K,
            images_max=14,
            groups=True,
            formats=("png", "jpeg"),
            web_search=True,
        ),
        "seedream-5-0-pro": ArkModel(
            tiers=_tiers(t1K=1024, t1_5K=1536, t2K=2048),
            default_size=(2048, 2048),
            area_min=AREA_1K,
            area_max=4_624_220,
            images_max=10,
            formats=("png", "jpeg"),
            prompt_modes=("standard", "fast"),
            layers=True,
        ),
    }
)
ENDPOINT_PREFIX = "ep-"
VOLCENGINE_PREFIX = "doubao-"


def find_ark_model(name: str) -> ArkModel | None:
    """Either vendor's spelling; an endpoint id hides the model behind it, here always 4.0."""
    if name.startswith(ENDPOINT_PREFIX):
        return _SEEDREAM_4
    return ARK_MODELS.get(name.removeprefix(VOLCENGINE_PREFIX))


@dataclass(frozen=True, slots=True)
class OpenAIModel:
    """`legacy` is the DALL·E surface: response_format and style, PNG only. Empty `sizes`: any that fits the grid."""

    prompt_characters_max: int
    sizes: frozenset[str]
    qualities: tuple[str, ...]
    default_quality: str
    default_size: Size = (1024, 1024)
    pictures_max: int = 10
    legacy: bool = False
    styles: tuple[str, ...] = ()
    revises_prompt: bool = False
    formats: tuple[str, ...] = field(default=())


_GPT_QUALITIES = ("low", "medium", "high", "auto")
_GPT_SIZES = frozenset({"1024x1024", "1536x1024", "1024x1536"})
_GPT_FORMATS = ("png", "jpeg", "webp")

OPENAI_MODELS: Mapping[str, OpenAIModel] = MappingProxyType(
    {
        "gpt-image-2": OpenAIModel(32_000, frozenset(), _GPT_QUALITIES, "auto", formats=_GPT_FORMATS),
        "gpt-image-1.5": OpenAIModel(32_000, _GPT_SIZES, _GPT_QUALITIES, "auto", formats=_GPT_FORMATS),
        "gpt-image-1-mini": OpenAIModel(32_000, _GPT_SIZES, _GPT_QUALITIES, "auto", formats=_GPT_FORMATS),
        "dall-e-3": OpenAIModel(
            4_000,
            frozenset({"1024x1024", "1792x1024", "1024x1792"}),
            ("standard", "hd"),
            "standard",
            pictures_max=1,
            legacy=True,
            styles=("vivid", "natural"),
            revises_prompt=True,
        ),
        "dall-e-2": OpenAIModel(
            1_000, frozenset({"256x256", "512x512", "1024x1024"}), ("standard",), "standard", legacy=True
        ),
    }
)
ANY = "*"
"""In a table of models: whatever else is asked for."""
LOCAL_MODELS: Mapping[str, OpenAIModel] = MappingProxyType(
    {ANY: OpenAIModel(32_000, frozenset(), ("standard", "hd"), "standard", legacy=True)}
)
"""What a server of the operator's own offers in OpenAI's dialect."""
GRID_PIXELS = 16
LONG_SIDE_MAX, SHORT_SIDE_MAX = 3840, 2160
ASPECT_MAX = 3.0


def fits_openai_grid(size: Size) -> bool:
    """The free sizes of gpt-image-2: multiples of 16, 1:3 to 3:1, at most 3840x2160 either way round."""
    long, short = max(size), min(size)
    return (
        short >= GRID_PIXELS
        and long % GRID_PIXELS == 0
        and short % GRID_PIXELS == 0
        and long <= LONG_SIDE_MAX
        and short <= SHORT_SIDE_MAX
        and long / short <= ASPECT_MAX
    )


def fits_ark_model(size: Size, model: ArkModel) -> bool:
    """Aspect 1/16 to 16, sides and area within the model's bounds."""
    long, short = max(size), min(size)
    return (
        short >= model.side_min
        and long <= model.side_max
        and model.area_min <= long * short <= model.area_max
        and long <= 16 * short
    )


def read_size(text: str) -> Size | None:
    """`WxH` in pixels."""
    width, cross, height = text.lower().partition("x")
    if not cross or not (width.isascii() and width.isdigit() and height.isascii() and height.isdigit()):
        return None
    if len(text) > 11 or not int(width) or not int(height):
        return None
    return int(width), int(height)


_ASPECTS: tuple[tuple[frozenset[str], float], ...] = (
    (frozenset({"panorama", "panoramic", "ultrawide"}), 21 / 9),
    (frozenset({"wide", "widescreen", "cinematic", "landscape", "banner"}), 16 / 9),
    (frozenset({"vertical", "phone", "poster", "tall"}), 9 / 16),
    (frozenset({"portrait"}), 3 / 4),
)


def tier_size(side: int, prompt: str) -> Size:
    """With a tier the model picks the aspect from the prompt, at about the same area."""
    words = set(prompt.lower().split())
    aspect = next((aspect for names, aspect in _ASPECTS if words & names), 1.0)
    if aspect == 1.0:
        return side, side
    width = int(side * aspect**0.5 / 16) * 16
    height = int(side / aspect**0.5 / 16) * 16
    return width, height
