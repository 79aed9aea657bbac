"""The names below which an asset and its variants are served: all of them known before any variant is made."""

from contracts.facts import Kind

EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "video/mp4": "mp4",
    "video/quicktime": "mov",
    "video/webm": "webm",
    "audio/mp4": "m4a",
    "audio/webm": "weba",
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "audio/ogg": "ogg",
    "audio/flac": "flac",
    "audio/aac": "aac",
    "application/json": "json",
}
ORIGINAL = "original"
LONGEST_SIDES: dict[str, int | None] = {"full": None, "poster": None, "medium": 1024, "thumbnail": 256}
"""In pixels; None is as large as the original, or as a WebP of it can be."""
WAVEFORM = "waveform"
_VARIANTS = {
    Kind.IMAGE: ("full", "medium", "thumbnail"),
    Kind.VIDEO: ("poster", "medium", "thumbnail"),
    Kind.SPEECH: (WAVEFORM,),
}
VARIANT_NAMES = {name for names in _VARIANTS.values() for name in names}
KEY = rf"([0-9a-f]{{32}})/({'|'.join((ORIGINAL, *sorted(VARIANT_NAMES)))})\.({'|'.join(EXTENSIONS.values())})"
"""Token, variant and extension of a key, as a pattern."""


def kind_of(mime_type: str) -> Kind:
    """What an asset of this type is."""
    return {"image": Kind.IMAGE, "video": Kind.VIDEO, "audio": Kind.SPEECH}[mime_type.partition("/")[0]]


def variants_of(mime_type: str) -> tuple[str, ...]:
    """The variants of an asset of this type."""
    return _VARIANTS[kind_of(mime_type)]


def type_of(variant: str) -> str:
    """The type of a variant; a waveform is numbers, everything else a picture."""
    return "application/json" if variant == WAVEFORM else "image/webp"


def addresses(token: str, mime_type: str) -> dict[str, object]:
    """`key` and `variants` of an asset, as its fact has them."""
    return {
        "key": f"{token}/{ORIGINAL}.{EXTENSIONS[mime_type]}",
        "variants": {name: f"{token}/{name}.{EXTENSIONS[type_of(name)]}" for name in variants_of(mime_type)},
    }
