"""The generator's settings, from the environment."""

from dataclasses import dataclass
from re import fullmatch
from typing import Literal, Self

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from runtime.outbound import OutboundSettings
from runtime.settings import BrokerSettings, DatabaseSettings, Fragment, ProcessSettings

HTTP = r"^https?://[^\s/?#]+(/\S*)?$"
"""An address on the web."""


class ProviderSettings(Fragment):
    """Keys and addresses; a provider without a key is not offered."""

    ark_api_key: SecretStr = Field(default=SecretStr(""), description="BytePlus ModelArk")
    ark_base_url: str = "https://ark.ap-southeast.bytepluses.com/api/v3"
    openai_api_key: SecretStr = Field(default=SecretStr(""), description="OpenAI")
    openai_base_url: str = "https://api.openai.com/v1"
    stability_api_key: SecretStr = Field(default=SecretStr(""), description="Stability AI")
    stability_base_url: str = "https://api.stability.ai"
    fal_key: SecretStr = Field(default=SecretStr(""), description="fal")
    fal_base_url: str = "https://queue.fal.run"
    anthropic_api_key: SecretStr = Field(default=SecretStr(""), description="Anthropic")
    anthropic_base_url: str = "https://api.anthropic.com"
    elevenlabs_api_key: SecretStr = Field(default=SecretStr(""), description="ElevenLabs")
    elevenlabs_base_url: str = "https://api.elevenlabs.io"
    gemini_api_key: SecretStr = Field(default=SecretStr(""), description="Google's Gemini API")
    google_api_key: SecretStr = Field(default=SecretStr(""), description="the same under its other name")
    gemini_base_url: str = "https://generativelanguage.googleapis.com"
    runwayml_api_secret: SecretStr = Field(default=SecretStr(""), description="Runway")
    runwayml_base_url: str = "https://api.dev.runwayml.com"
    replicate_api_token: SecretStr = Field(default=SecretStr(""), description="Replicate")
    replicate_base_url: str = "https://api.replicate.com"
    flow_api_key: SecretStr = Field(
        default=SecretStr(""), description="a bridge that speaks the contract of operationName and sceneId"
    )
    flow_base_url: str = ""
    openai_compatible_servers: str = Field(
        default="",
        description="servers that speak OpenAI's dialect, as name=http://host:port/v1, comma-separated",
    )
    openai_compatible_keys: SecretStr = Field(
        default=SecretStr(""), description="the keys of those that want one, as name=key, comma-separated"
    )

    @field_validator("*")
    @classmethod
    def _can_be_sent(cls, value: str | SecretStr, info: ValidationInfo) -> str | SecretStr:
        if isinstance(value, SecretStr) and not fullmatch(r"[ -~]*", value.get_secret_value()):
            raise ValueError("a key is one line of printable ASCII")
        if value and str(info.field_name).endswith("_base_url") and not fullmatch(HTTP, str(value)):
            raise ValueError("it has to be http(s)://host[:port][/path]")
        return value

    @field_validator("openai_compatible_servers", "openai_compatible_keys")
    @classmethod
    def _are_pairs(cls, value: str | SecretStr, info: ValidationInfo) -> str | SecretStr:
        found = pairs(value.get_secret_value() if isinstance(value, SecretStr) else value)
        if info.field_name == "openai_compatible_servers" and not all(fullmatch(HTTP, url) for _, url in found):
            raise ValueError("it has to be name=http(s)://host[:port][/path], comma-separated")
        return value


class WorkSettings(Fragment):
    """How the work is shared between processes."""

    model_config = SettingsConfigDict(env_prefix="GENERATOR_", extra="ignore", frozen=True)

    lease_seconds: float = Field(default=15, gt=0, description="how long a dead process keeps its work from the others")
    slots: int = Field(default=64, ge=1, description="generations of the interactive lane at a time, for each kind")
    batch_slots: int = Field(default=16, ge=1, description="the same for the batch lane")
    key_secrets: SecretStr = Field(
        default=SecretStr(""),
        description="what users' own keys are encrypted with, comma-separated: the first encrypts, all decrypt; none: "
        "users cannot set any",
    )
    public_callback_url: str | None = Field(
        default=None,
        validation_alias="PUBLIC_CALLBACK_URL",
        pattern=HTTP,
        description="where providers reach the generator's /callbacks; none: they are only asked",
    )

    @property
    def capacity(self) -> int:
        """Generations that are taken over at a time, of all kinds and both lanes."""
        return self.slots + self.batch_slots


class ModerationSettings(Fragment):
    """What OpenAI's moderation judges beside the rules in the database, where its key is set."""

    model_config = SettingsConfigDict(env_prefix="MODERATION_", extra="ignore", frozen=True)

    by_provider: Literal["all", "prompts", "off"] = Field(
        default="all",
        description="what is sent to it: prompts, finished pictures and frames of films; prompts alone; or nothing",
    )
    when_silent: Literal["pass", "refuse"] = Field(
        default="pass", description="what becomes of what it gave no judgement on"
    )


@dataclass(frozen=True)
class Settings:
    """Everything that the generator is told."""

    broker: BrokerSettings
    database: DatabaseSettings
    process: ProcessSettings
    providers: ProviderSettings
    outbound: OutboundSettings
    work: WorkSettings
    moderation: ModerationSettings

    @classmethod
    def from_environment(cls) -> Self:
        return cls(
            BrokerSettings(),
            DatabaseSettings(_env_prefix="GENERATOR_"),
            ProcessSettings(_env_prefix="GENERATOR_"),
            ProviderSettings(),
            OutboundSettings(),
            WorkSettings(),
            ModerationSettings(),
        )


def pairs(text: str) -> list[tuple[str, str]]:
    """`name=value` entries. Raises ValueError for one that is none."""
    found = [entry.partition("=") for entry in map(str.strip, text.split(",")) if entry]
    if not all(map(all, found)):
        raise ValueError("entries have to be name=value, with commas between them")
    return [(name, value) for name, _, value in found]
