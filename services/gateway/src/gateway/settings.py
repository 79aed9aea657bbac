"""The gateway's settings, from the environment."""

from dataclasses import dataclass, field, replace
from decimal import Decimal
from ipaddress import ip_address, ip_network
from re import fullmatch
from typing import Literal, Self
from uuid import UUID

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from contracts.facts import Visibility
from runtime.outbound import OutboundSettings
from runtime.settings import BrokerSettings, DatabaseSettings, Fragment, ProcessSettings

HTTP = r"^https?://[^\s/?#]+(/\S*)?$"
"""An address on the web."""
FUNDABLE = frozenset({"modelark", "reelmate", "instaveo"})
"""The dialects whose frontends show and sell no credits: somebody else can pay for them."""


class TokenSettings(Fragment):
    """Whose tokens are believed (Supabase's variable names). An empty variable is none: it must never be a key."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    supabase_jwt_secret: SecretStr | None = Field(default=None, min_length=16, description="key of HS256 tokens")
    supabase_url: str | None = Field(
        default=None, pattern=HTTP, description="issuer of ES256 and RS256 tokens; its JWKS is fetched"
    )
    supabase_jwks_url: str | None = Field(
        default=None, pattern=HTTP, description="where the JWKS is, if not below SUPABASE_URL"
    )
    jwt_secret: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="key of the tokens that /api/auth and device logins give, and never the same as "
        "SUPABASE_JWT_SECRET; none: they are off",
    )
    jwt_expires_in: str = Field(
        default="7d",
        pattern=r"^[1-9][0-9]{0,5}[smhd]$",
        description="how long the token of /api/auth/login lives: a number and s, m, h or d",
    )
    session_secret: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="what the page /auth/device signs its cookie and its forms with; none: nobody signs in there",
    )

    @model_validator(mode="after")
    def _keys_differ(self) -> Self:
        if self.jwt_secret is not None and self.jwt_secret == self.supabase_jwt_secret:
            raise ValueError("JWT_SECRET and SUPABASE_JWT_SECRET have to differ: each issuer has a key of its own")
        return self

    @property
    def are_believed(self) -> bool:
        """Whether anybody's are."""
        return bool(self.supabase_jwt_secret or self.supabase_url or self.supabase_jwks_url or self.jwt_secret)

    @property
    def jwt_lifetime_seconds(self) -> int:
        return int(self.jwt_expires_in[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[self.jwt_expires_in[-1]]


class UserSettings(Fragment):
    """Whether people sign up here: a small GoTrue under /auth/v1, and /api/auth."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", extra="ignore", frozen=True)

    local_users: bool = Field(default=False, description="people may sign up with e-mail and password")
    confirm_emails: bool = Field(
        default=False, description="nobody signs in before an operator's program has said that the e-mail is theirs"
    )


class DoorSettings(Fragment):
    """Who stands before the gateway, and where else it listens."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", extra="ignore", frozen=True)

    proxy_networks: str = Field(
        default="", description="networks (CIDR, comma-separated) of proxies whose headers about a client are believed"
    )
    proxy_user_header: str | None = Field(
        default=None, description="a header in which those proxies name the user, such as X-Forwarded-User"
    )
    frontends: str = Field(
        default="", description="further ports on loopback, each with its dialect: modelark=3001,reelmate=5001"
    )
    fal_host: str | None = Field(
        default=None, description="the host, with its port unless that is 443, by which fal's clients reach the queue"
    )
    fal_run_host: str | None = Field(
        default=None, description="another host, at which a request of theirs is answered with its result (fal.run)"
    )

    @field_validator("proxy_networks")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        for network in filter(None, map(str.strip, text.split(","))):
            ip_network(network)
        return text

    @field_validator("frontends")
    @classmethod
    def _are_listeners(cls, text: str) -> str:
        for listener in filter(None, map(str.strip, text.split(","))):
            if not fullmatch(r"[a-z]+=[0-9]{1,5}", listener) or not 0 < int(listener.partition("=")[2]) < 65536:
                raise ValueError("it has to be dialect=port, comma-separated")
        return text

    @model_validator(mode="after")
    def _header_has_proxies(self) -> Self:
        if self.proxy_user_header and not self.proxy_networks.strip():
            raise ValueError("GATEWAY_PROXY_USER_HEADER needs GATEWAY_PROXY_NETWORKS: anybody could send the header")
        return self

    @property
    def dialect_of_port(self) -> dict[int, str]:
        pairs = [listener.split("=") for listener in map(str.strip, self.frontends.split(",")) if listener]
        return {int(port): dialect for dialect, port in pairs}


class AddressSettings(Fragment):
    """Where clients find us."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    public_url: str = Field(default="http://127.0.0.1:3001", pattern=HTTP, description="the gateway's own address")
    public_media_url: str = Field(
        default="http://127.0.0.1:3002", pattern=HTTP, description="storage's address for /media/*"
    )
    cloudfront_domain: str | None = Field(
        default=None, description="a CloudFront distribution whose origin is PUBLIC_MEDIA_URL; media addresses name it"
    )
    media_cdn_domain: str | None = Field(default=None, description="the same for any other CDN, and before that")
    media_signing_key: SecretStr | None = Field(
        default=None, min_length=16, description="signs media addresses, all or those of what is its owner's alone"
    )
    media_addresses: Literal["public", "signed"] = Field(
        default="signed",
        description="with MEDIA_SIGNING_KEY: `signed` lets every address end, `public` only those of what is its "
        "owner's alone",
    )
    media_upload_visibility: Literal["public", "owner"] = Field(
        default="public",
        description="who may look at what users bring, where they do not say it: `public`, or `owner`, which needs "
        "MEDIA_SIGNING_KEY",
    )
    media_lifetime_seconds: int = Field(
        default=3600, gt=0, description="how long a signed address lives, or up to a quarter less"
    )
    default_dialect: Literal["instaveo", "jaaz", "modelark", "reelmate", "social"] = Field(
        default="modelark", description="whose tables /rest/v1 shows where neither the request nor its port says it"
    )
    cors_origins: str = Field(default="*", description="origins of frontends, comma-separated; no cookie is ever used")

    @model_validator(mode="after")
    def _can_be_seen(self) -> Self:
        if self.media_upload_visibility == "owner" and self.media_signing_key is None:
            raise ValueError("MEDIA_UPLOAD_VISIBILITY=owner needs MEDIA_SIGNING_KEY")
        return self

    def key_for(self, visibility: Visibility) -> str | None:
        """What addresses of such media are signed with; None where they are permanent."""
        if self.media_signing_key is None or (self.media_addresses == "public" and visibility is Visibility.PUBLIC):
            return None
        return self.media_signing_key.get_secret_value()

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


class FundingSettings(Fragment):
    """Whose credits pay, where it is not the user's own."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", env_ignore_empty=True, extra="ignore", frozen=True)

    funded_dialects: str = Field(
        default="", description="dialects that an operator's account pays for: modelark,reelmate,instaveo"
    )
    funding_account: UUID | None = Field(default=None, description="the user id of the account that pays for them")

    @field_validator("funded_dialects")
    @classmethod
    def _can_be_funded(cls, text: str) -> str:
        if strange := set(_listed(text)) - FUNDABLE:
            raise ValueError(f"{min(strange)!r} cannot be funded: one or more of {', '.join(sorted(FUNDABLE))}")
        return text

    @model_validator(mode="after")
    def _somebody_pays(self) -> Self:
        if _listed(self.funded_dialects) and self.funding_account is None:
            raise ValueError("GATEWAY_FUNDED_DIALECTS needs GATEWAY_FUNDING_ACCOUNT, the account that pays")
        return self

    def payer_of(self, dialect: str) -> UUID | None:
        """Whose account pays for what this dialect makes; None: its user's own."""
        return self.funding_account if dialect in _listed(self.funded_dialects) else None


class SocialSettings(Fragment):
    """What the social dialect makes, and for whom; no other dialect reads it."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    ai_generation_enabled: bool = Field(
        default=True, description="whether it makes anything; looking is always possible"
    )
    max_images_per_generation: int = Field(
        default=4, ge=1, le=4, description="the most pictures of one request, up to 4"
    )
    verify_above_credits: Decimal | None = Field(
        default=None, ge=0, description="what costs more needs a token whose email_verified is true; none: nothing does"
    )


class LimitSettings(Fragment):
    """Bounds on what one user can do."""

    model_config = SettingsConfigDict(env_prefix="GATEWAY_", extra="ignore", frozen=True)

    requests_per_minute: int = Field(default=600, ge=1, description="generations that one user may ask for")
    deployment_requests_per_minute: int = Field(
        default=0, ge=0, description="generations that all users together may ask for; 0: no bound"
    )
    interactive_slots: int = Field(default=32, ge=1, description="a user's unfinished generations at work")
    batch_slots: int = Field(default=8, ge=1, description="the same, in the batch lane")
    max_waiting: int = Field(default=1000, ge=0, description="a user's generations waiting for a slot")
    max_body_bytes: int = Field(default=1 << 20, gt=0, description="a JSON body's size")
    max_upload_bytes: int = Field(default=64 << 20, gt=0, description="an uploaded file's size")
    sync_wait_seconds: float = Field(default=600, ge=0, description="how long a synchronous route waits for an outcome")
    reuse_seconds: int = Field(
        default=86_400, ge=1, description="how old an earlier result may be that answers a request which allows that"
    )
    reuse_percent: int = Field(default=0, ge=0, le=100, description="what it then costs, of its price")
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


class FrontendSettings(Fragment):
    """What reelmate's operators set, by the names that they know; our own names win where they are given."""

    frontend_url: str | None = Field(default=None, description="CORS_ORIGINS, where that is not set")
    node_env: str | None = Field(default=None, description="development: GATEWAY_LOG_LEVEL is DEBUG, if not set")
    debug: str | None = Field(default=None, description="*: likewise; anything else means nothing here")

    @property
    def wants_debug(self) -> bool:
        return self.debug == "*" or self.node_env == "development"


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
    users: UserSettings = field(default_factory=UserSettings)
    doors: DoorSettings = field(default_factory=DoorSettings)
    social: SocialSettings = field(default_factory=SocialSettings)
    instaveo: InstaveoSettings = field(default_factory=InstaveoSettings)
    funding: FundingSettings = field(default_factory=FundingSettings)
    frontend: FrontendSettings = field(default_factory=FrontendSettings)

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
            UserSettings(),
            DoorSettings(),
            SocialSettings(),
            InstaveoSettings(),
            FundingSettings(),
        ).as_its_frontend_says()
        if settings.users.local_users and settings.tokens.supabase_jwt_secret is None:
            raise ValueError("GATEWAY_LOCAL_USERS needs SUPABASE_JWT_SECRET, with which their tokens are signed")
        if not (settings.tokens.are_believed or settings.doors.proxy_user_header or settings.limits.local_mode):
            raise ValueError("SUPABASE_JWT_SECRET or SUPABASE_URL has to be set: whose tokens are believed")
        if settings.limits.local_mode and not _is_loopback(settings.process.host):
            raise ValueError("GATEWAY_LOCAL_MODE needs GATEWAY_HOST to be a loopback address")
        return settings

    def as_its_frontend_says(self) -> Self:
        """The settings with what stands in the frontend's own variables, where ours say nothing."""
        frontend, addresses, process = self.frontend, self.addresses, self.process
        if frontend.frontend_url is not None and "cors_origins" not in addresses.model_fields_set:
            origin = frontend.frontend_url.strip().rstrip("/")
            addresses = addresses.model_copy(update={"cors_origins": origin})
        if frontend.wants_debug and "log_level" not in process.model_fields_set:
            process = process.model_copy(update={"log_level": "DEBUG"})
        return replace(self, addresses=addresses, process=process)


def _listed(text: str) -> list[str]:
    return [name for name in map(str.strip, text.split(",")) if name]


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
