"""The gateway's settings, from the environment."""

from dataclasses import dataclass, field
from decimal import Decimal
from ipaddress import ip_address
from typing import Self

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from runtime.outbound import OutboundSettings
from runtime.settings import BrokerSettings, DatabaseSettings, Fragment, ProcessSettings


class TokenSettings(Fragment):
    """Whose tokens are believed (Supabase's variable names). An empty variable is none: it must never be a key."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    supabase_jwt_secret: SecretStr | None = Field(default=None, description="key of HS256 tokens")
    supabase_url: str | None = Field(default=None, description="issuer of ES256 and RS256 tokens; its JWKS is fetched")
    supabase_jwks_url: str | None = Field(default=None, description="where the JWKS is, if not below SUPABASE_URL")


class AddressSettings(Fragment):
    """Where clients find us."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    public_url: str = Field(default="http://127.0.0.1:3001", description="the gateway's own address")
    public_media_url: str = Field(default="http://127.0.0.1:3002", description="storage's address for /media/*")
    cloudfront_domain: str | None = Field(
        default=None, description="a CloudFront distribution whose origin is PUBLIC_MEDIA_URL; media addresses name it"
    )
    media_cdn_domain: str | None = Field(default=None, description="the same for any other CDN, and before that")
    media_signing_key: SecretStr | None = Field(
        default=None, description="set: media addresses are signed and short-lived"
    )
    media_lifetime_seconds: int = Field(default=3600, description="how long a signed address lives")
    default_dialect: str = Field(
        default="modelark", description="whose tables /rest/v1 shows where neither the request nor its port says it"
    )
    cors_origins: str = Field(default="*", description="origins of frontends, comma-separated; no cookie is ever used")

    @property
    def media_base(self) -> str:
        """What addresses of media begin with."""
        domain = self.media_cdn_domain or self.cloudfront_domain
        if domain is None:
            return self.public_url.rstrip("/")
        return domain.rstrip("/") if "://" in domain else f"https://{domain.rstrip('/')}"


class WebhookSettings(Fragment):
    """What webhooks are signed with."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    webhook_signing_key: SecretStr | None = Field(
        default=None, min_length=16, description="the secret of every webhook is derived from it; none: no webhooks"
    )


class MoneySettings(Fragment):
    """What credits are worth."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    credit_price: Decimal = Field(default=Decimal("0.10"), gt=0, description="what one credit is sold for, in USD")


class LimitSettings(Fragment):
    """Bounds on what one user can do."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", extra="ignore", frozen=True)

    requests_per_minute: int = Field(default=600, ge=1, description="accepted generations per user and process")
    interactive_slots: int = Field(default=32, ge=1, description="a user's unfinished generations at work")
    batch_slots: int = Field(default=8, ge=1, description="the same, in the batch lane")
    max_waiting: int = Field(default=1000, ge=0, description="a user's generations waiting for a slot")
    max_body_bytes: int = Field(default=1 << 20, description="a JSON body's size")
    max_upload_bytes: int = Field(default=64 << 20, gt=0, description="an uploaded file's size")
    sync_wait_seconds: float = Field(default=600, description="how long a synchronous route waits for an outcome")
    local_mode: bool = Field(default=False, description="loopback only: no token means the development user")


class InstaveoSettings(Fragment):
    """The instaveo frontend's own variables, in its names. They concern that dialect alone."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    request_signature_secret: SecretStr | None = Field(
        default=None, min_length=32, description="set: instaveo's mutating requests have to be signed with it"
    )
    request_signature_ttl_seconds: int = Field(default=120, ge=1, description="how old or early a signature may be")
    request_signature_timestamp_header: str = Field(default="X-InstaVeo-Timestamp", min_length=1)
    request_signature_header: str = Field(default="X-InstaVeo-Signature", min_length=1)
    auto_publish: bool = Field(default=True, description="whether instaveo's videos are public once they are completed")
    video_creation_cooldown_seconds: int = Field(default=120, ge=0, description="between two instaveo videos of a user")
    video_queue_maxsize: int = Field(default=10, ge=0, description="instaveo's unfinished videos; 0: as many as asked")
    video_status_poll_seconds: int = Field(default=5, ge=1, description="how often instaveo looks at a video")
    video_status_max_polls: int = Field(
        default=120, ge=1, description="after so many looks an instaveo video is given up, if not before"
    )
    media_storage_backend: str | None = Field(
        default=None,
        description="local, s3, gcp or supabase; unset: s3 when AWS_S3_BUCKET is set, else supabase when "
        "SUPABASE_SERVICE_ROLE_KEY and STORAGE_BUCKET_NAME are, else local",
    )
    video_callback_secret: SecretStr | None = Field(
        default=None, min_length=16, description="set: an outside renderer that signs with it may finish a video"
    )


class SweeperSettings(Fragment):
    """How unfinished generations are driven."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_SWEEP_", extra="ignore", frozen=True)

    every_seconds: float = Field(default=2, gt=0)
    first_drive_seconds: float = Field(default=30, gt=0)
    longest_pause_seconds: float = Field(default=900, gt=0)
    drives_before_deadline: int = Field(default=5, ge=1)
    rows: int = Field(default=200, ge=1, description="rows driven in one sweep")
    lag_limit: int = Field(default=1000, ge=1, description="no drives while a consumer is this far behind")


@dataclass(frozen=True)
class Settings:
    """Everything that the gateway is told."""

    broker: BrokerSettings
    database: DatabaseSettings
    process: ProcessSettings
    tokens: TokenSettings
    addresses: AddressSettings
    limits: LimitSettings
    sweeper: SweeperSettings
    webhooks: WebhookSettings
    outbound: OutboundSettings
    money: MoneySettings = field(default_factory=MoneySettings)
    instaveo: InstaveoSettings = field(default_factory=InstaveoSettings)

    @classmethod
    def from_environment(cls) -> Self:
        settings = cls(
            BrokerSettings(),
            DatabaseSettings(_env_prefix="GATEWAY_"),
            ProcessSettings(_env_prefix="GATEWAY_"),
            TokenSettings(),
            AddressSettings(),
            LimitSettings(),
            SweeperSettings(),
            WebhookSettings(),
            OutboundSettings(),
            MoneySettings(),
            InstaveoSettings(),
        )
        if settings.limits.local_mode and not _is_loopback(settings.process.host):
            raise ValueError("GATEWAY_LOCAL_MODE needs GATEWAY_HOST to be a loopback address")
        return settings


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
