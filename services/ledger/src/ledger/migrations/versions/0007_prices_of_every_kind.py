"""What models of every kind cost: the generator offers none that has no price."""

from alembic import op

revision = "0007"
down_revision = "0006"

_CREDIT = 10_000
_OUTPUTS = {
    "gpt-image-1": (1, 42_000),
    "stable-image-core": (1, 30_000),
    "stable-image-ultra": (3, 80_000),
    "sd3.5-large": (2, 65_000),
    "stable-diffusion": (2, 65_000),
    "flux-schnell": (1, 3_000),
    "flux-dev": (1, 25_000),
    "flux-schnell-replicate": (1, 3_000),
    "flux-dev-replicate": (1, 25_000),
    "gemini-2.5-flash-image": (1, 39_000),
}
"""Credits for one, and millionths of a dollar that the provider takes, as published; an operator writes their own."""
_SECONDS = {
    "seedance-1-0-lite-t2v": (10_000, 36_000),
    "seedance-1-0-lite-i2v": (10_000, 36_000),
    "seedance-1-0-pro": (15_000, 50_000),
    "seedance-1-5-pro": (20_000, None),
    "runway-gen-4.5": (40_000, 120_000),
    "runway-gen-4-turbo": (20_000, 50_000),
    "flow": (20_000, None),
    "gemini-omni-1.1-flash": (40_000, None),
    "veo-3.1": (120_000, 400_000),
    "sora-2": (40_000, 100_000),
    "runway-gen-2": (40_000, 120_000),
    "stable-video": (15_000, 50_000),
}
_THOUSAND_CHARACTERS = {
    "gpt-4o-mini-tts": (5_000, 12_000),
    "tts-1": (5_000, 15_000),
    "tts-1-hd": (10_000, 30_000),
    "eleven_multilingual_v2": (60_000, 180_000),
    "eleven_flash_v2_5": (30_000, 90_000),
}
_MILLION_TOKENS = {
    "gpt-5.4-mini": (100_000, 800_000),
    "gpt-5.4": (600_000, 4_000_000),
    "claude-haiku-5-5": (400_000, 2_000_000),
    "claude-sonnet-5-5": (1_000_000, 5_000_000),
    "gpt-4": (600_000, 4_000_000),
    "claude-3": (1_000_000, 5_000_000),
}
"""Units for what is read, and for what is written."""


def upgrade() -> None:
    rows = [
        *((model, credits_each * _CREDIT, "output", 0, micros) for model, (credits_each, micros) in _OUTPUTS.items()),
        *((model, units, "second", 0, micros) for model, (units, micros) in _SECONDS.items()),
        *((model, units, "thousand_characters", 0, micros) for model, (units, micros) in _THOUSAND_CHARACTERS.items()),
        *((model, written, "million_tokens", read, None) for model, (read, written) in _MILLION_TOKENS.items()),
    ]
    for model, amount, per, input_amount, micros in rows:
        op.execute(f"""
            INSERT INTO prices (version, model, amount, per, input_amount, provider_cost_micros)
            VALUES (1, '{model}', {amount}, '{per}', {input_amount}, {"NULL" if micros is None else micros})
            ON CONFLICT DO NOTHING
        """)  # noqa: S608


def downgrade() -> None:
    names = ", ".join(f"'{name}'" for name in {**_OUTPUTS, **_SECONDS, **_THOUSAND_CHARACTERS, **_MILLION_TOKENS})
    op.execute("ALTER TABLE prices DISABLE TRIGGER append_only")
    op.execute(f"DELETE FROM prices WHERE version = 1 AND model IN ({names})")  # noqa: S608
    op.execute("ALTER TABLE prices ENABLE TRIGGER append_only")
