"""Models of every kind, and the names that frontends ask for: what was retired names who does its work."""

from typing import Any

from alembic import op

revision = "0004"
down_revision = "0003"

_SEED_SIZES = "1024x1024 512x512 1536x1024 1024x1536"
"""Each is delivered exactly, whatever a model makes: the next larger is asked for, and scaled down."""
_HD = "1280x720 720x1280 1024x1024 1920x1080 1080x1920 864x480 480x864"
_VOICES = "alloy ash ballad coral echo fable onyx nova sage shimmer verse marin cedar"
_ELEVEN = "JBFqnCBsd6RMkjVDRZzb EXAVITQu4vr4xnSDxMaL 21m00Tcm4TlvDq8ikWAM"
_FIRST_AND_LAST = "image first_frame last_frame"

_IMAGE = {"kind": "image", "sizes": _SEED_SIZES, "default_size": "1024x1024", "max_count": 4, "deadline_seconds": 300}
_VIDEO = {
    "kind": "video", "sizes": _HD, "default_size": "1280x720", "seconds": range(2, 13), "default_seconds": 5,
    "max_prompt_characters": 2000, "deadline_seconds": 900, "p99_seconds": 300,
}  # fmt: skip
_SPEECH = {
    "kind": "speech",
    "voices": _VOICES,
    "max_prompt_characters": 4096,
    "deadline_seconds": 120,
    "p99_seconds": 20,
}
_TEXT = {
    "kind": "text", "max_tokens": 4096, "max_prompt_characters": 200_000, "deadline_seconds": 300, "p99_seconds": 60,
    "unknown_policy": "resubmit_once",
}  # fmt: skip
_CHEAP = {"unknown_policy": "resubmit_once"}
_GPT_SIZES = "1024x1024 1536x1024 1024x1536"

_MODELS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
    # id, provider, the provider's own name, and what differs from most of its kind
    ("gpt-image-1", "openai", "gpt-image-1", _IMAGE | {"state": "legacy", "successor": "gpt-image-1.5"}),
    ("stable-image-core", "stability", "core", _IMAGE | _CHEAP | {"max_prompt_characters": 10_000}),
    ("stable-image-ultra", "stability", "ultra", _IMAGE | {"max_prompt_characters": 10_000, "inputs": "image"}),
    ("sd3.5-large", "stability", "sd3.5-large", _IMAGE | {"max_prompt_characters": 10_000, "inputs": "image"}),
    ("stable-diffusion", "stability", "sd3.5-large", _IMAGE | {"state": "legacy", "successor": "sd3.5-large"}),
    ("flux-schnell", "fal", "fal-ai/flux/schnell", _IMAGE | _CHEAP | {"fallbacks": "flux-schnell-replicate"}),
    ("flux-dev", "fal", "fal-ai/flux/dev", _IMAGE | _CHEAP | {"fallbacks": "flux-dev-replicate"}),
    (
        "flux-schnell-replicate", "replicate", "black-forest-labs/flux-schnell",
        _IMAGE | _CHEAP | {"fallbacks": "flux-schnell"},
    ),
    ("flux-dev-replicate", "replicate", "black-forest-labs/flux-dev", _IMAGE | _CHEAP | {"fallbacks": "flux-dev"}),
    ("gemini-2.5-flash-image", "google", "gemini-2.5-flash-image", _IMAGE | {"inputs": "image"}),
    ("seedance-1-0-lite-t2v", "modelark", "seedance-1-0-lite-t2v-250428", _VIDEO),
    (
        "seedance-1-0-lite-i2v", "modelark", "seedance-1-0-lite-i2v-250428",
        _VIDEO | {"inputs": _FIRST_AND_LAST},
    ),
    ("seedance-1-0-pro", "modelark", "seedance-1-0-pro-250528", _VIDEO | {"inputs": _FIRST_AND_LAST}),
    (
        "seedance-1-5-pro", "modelark", "seedance-1-5-pro-251215",
        _VIDEO | {"inputs": _FIRST_AND_LAST, "seconds": range(4, 13)},
    ),
    ("runway-gen-4.5", "runway", "gen4.5", _VIDEO | {"inputs": "image first_frame", "seconds": range(2, 11)}),
    (
        "runway-gen-4-turbo", "runway", "gen4_turbo",
        _VIDEO | {"inputs": "image first_frame", "seconds": range(2, 11)},
    ),
    ("flow", "flow", "flow", _VIDEO | {"seconds": range(2, 11)}),
    ("gemini-omni-1.1-flash", "google", "gemini-omni-1.1-flash", _VIDEO | {"seconds": range(2, 11)}),
    (
        "veo-3.1", "google", "veo-3.1-generate-preview",
        _VIDEO | {"state": "legacy", "successor": "gemini-omni-1.1-flash", "seconds": (4, 6, 8), "default_seconds": 8},
    ),
    (
        "sora-2", "openai", "sora-2",
        _VIDEO | {"state": "legacy", "successor": "seedance-1-5-pro", "seconds": (4, 8, 12), "default_seconds": 4},
    ),
    (
        "runway-gen-2", "runway", "gen2",
        _VIDEO | {"state": "legacy", "successor": "runway-gen-4.5", "seconds": range(2, 11)},
    ),
    (
        "stable-video", "stability", "image-to-video",
        _VIDEO | {"state": "legacy", "successor": "seedance-1-0-pro", "inputs": "image first_frame"},
    ),
    ("gpt-4o-mini-tts", "openai", "gpt-4o-mini-tts", _SPEECH | _CHEAP),
    ("tts-1", "openai", "tts-1", _SPEECH | _CHEAP),
    ("tts-1-hd", "openai", "tts-1-hd", _SPEECH | _CHEAP),
    (
        "eleven_multilingual_v2", "elevenlabs", "eleven_multilingual_v2",
        _SPEECH | {"voices": _ELEVEN, "max_prompt_characters": 10_000},
    ),
    (
        "eleven_flash_v2_5", "elevenlabs", "eleven_flash_v2_5",
        _SPEECH | {"voices": _ELEVEN, "max_prompt_characters": 40_000},
    ),
    ("gpt-5.4-mini", "openai", "gpt-5.4-mini", _TEXT),
    ("gpt-5.4", "openai", "gpt-5.4", _TEXT),
    ("claude-haiku-5-5", "anthropic", "claude-haiku-5-5", _TEXT),
    ("claude-sonnet-5-5", "anthropic", "claude-sonnet-5-5", _TEXT),
    ("gpt-4", "openai", "gpt-4", _TEXT | {"state": "legacy", "successor": "gpt-5.4"}),
    ("claude-3", "anthropic", "claude-3", _TEXT | {"state": "legacy", "successor": "claude-sonnet-5-5"}),
)  # fmt: skip
_OFFERED: dict[str, tuple[str, str]] = {
    # the sizes that frontends ask for, beside what is made
    "seedream-4-0-250828": (
        "512x512 1536x1024 1024x1536",
        "2048x2048 1024x1024 1280x720 720x1280 2304x1728 1728x2304 2560x1440 1440x2560 2496x1664 1664x2496 4096x4096 "
        "1536x1024 1024x1536",
    ),
    "seedream-4-5-251128": (
        "1024x1024 512x512 1536x1024 1024x1536",
        "2048x2048 2304x1728 1728x2304 2560x1440 1440x2560 2496x1664 1664x2496 4096x4096",
    ),
    "gpt-image-2": ("512x512", ""),
    "gpt-image-1.5": ("512x512", _GPT_SIZES),
    "gpt-image-1-mini": ("512x512", _GPT_SIZES),
}
_INSERT = """
    INSERT INTO models (id, position, kind, provider, provider_model, state, successor, fallbacks, sizes, provider_sizes,
        default_size, seconds, default_seconds, ratios, inputs, voices, max_tokens, max_count, max_per_submission,
        max_prompt_characters, deadline_seconds, p99_seconds, unknown_policy)
    VALUES ({})
"""


def upgrade() -> None:
    for position, (name, provider, provider_model, particulars) in enumerate(_MODELS, 20):
        op.execute(_INSERT.format(", ".join(_values(name, position, provider, provider_model, particulars))))
    op.execute("UPDATE models SET successor = 'gpt-image-2' WHERE id = 'dall-e-3'")
    for name, (offered, made) in _OFFERED.items():
        op.execute(f"""
            UPDATE models SET sizes = sizes || {_words(offered)}, provider_sizes = {_words(made)} WHERE id = '{name}'
        """)  # noqa: S608


def _values(name: str, position: int, provider: str, provider_model: str, particulars: dict[str, Any]) -> list[str]:
    def of(column: str, otherwise: Any = None) -> Any:
        return particulars.get(column, otherwise)

    sizes = _words(of("sizes", ""))
    return [
        _text(name), str(position), _text(of("kind")), _text(provider), _text(provider_model),
        _text(of("state", "active")), _text(of("successor")), _words(of("fallbacks", "")), sizes,
        "'{}'", _text(of("default_size")), _numbers(*of("seconds", ())),
        str(of("default_seconds") or "NULL"), _words(of("ratios", "")), _words(of("inputs", "")),
        _words(of("voices", "")), str(of("max_tokens") or "NULL"), str(of("max_count", 1)), "1",
        str(of("max_prompt_characters", 4000)), str(of("deadline_seconds")), str(of("p99_seconds", 60)),
        _text(of("unknown_policy", "fail")),
    ]  # fmt: skip


def _text(value: object) -> str:
    return "NULL" if value is None else f"'{value}'"


def _words(value: object) -> str:
    return f"CAST(string_to_array('{value}', ' ') AS text[])"


def _numbers(*values: int) -> str:
    return f"CAST(ARRAY[{', '.join(map(str, values))}] AS integer[])"


def downgrade() -> None:
    names = ", ".join(f"'{name}'" for name, *_ in _MODELS)
    op.execute(f"DELETE FROM models WHERE id IN ({names})")  # noqa: S608
    op.execute("UPDATE models SET successor = NULL, provider_sizes = '{}'")
