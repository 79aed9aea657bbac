"""The storage service's settings, from the environment."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from runtime.outbound import OutboundSettings
from runtime.settings import BrokerSettings, DatabaseSettings, Fragment, ProcessSettings

HTTP = r"^https?://[^\s/?#]+(/\S*)?$"
"""An address on the web."""
Backend = Literal["local", "s3", "gcp", "supabase"]


class StoreSettings(Fragment):
    """Where media is kept. An empty variable is none."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    media_storage_backend: Backend | None = Field(
        default=None,
        description="local, s3, gcp or supabase; unset: s3 when AWS_S3_BUCKET is set, else supabase when "
        "SUPABASE_SERVICE_ROLE_KEY and STORAGE_BUCKET_NAME are, else local",
    )
    media_former_backend: Backend | None = Field(
        default=None,
        description="where media was kept before and is still read from, until `darkroom media move` is done",
    )
    media_root: Path = Field(default=Path(".darkroom/media"), description="the folder of local media")
    aws_s3_bucket: str | None = Field(default=None, description="the bucket, which must exist")
    s3_endpoint: str | None = Field(
        default=None, pattern=HTTP, description="http(s)://host[:port] of any S3; unset: AWS"
    )
    aws_access_key_id: str | None = None
    aws_secret_access_key: SecretStr | None = None
    aws_region: str = "us-east-1"
    gcs_bucket: str | None = Field(default=None, description="a bucket of Google Cloud Storage, by its S3 interface")
    gcs_endpoint: str = Field(default="https://storage.googleapis.com", pattern=HTTP, description="of that interface")
    gcs_hmac_key_id: str | None = Field(default=None, description="an HMAC key of a service account")
    gcs_hmac_secret: SecretStr | None = None
    storage_bucket_name: str | None = Field(default=None, description="a bucket of Supabase Storage")
    supabase_url: str | None = Field(default=None, pattern=HTTP, description="the Supabase project")
    supabase_service_role_key: SecretStr | None = Field(
        default=None, description="opens the bucket together with SUPABASE_ANON_KEY, unless there are S3 keys"
    )
    supabase_anon_key: SecretStr | None = None
    supabase_s3_access_key_id: str | None = Field(default=None, description="an S3 key of the Supabase project")
    supabase_s3_secret_access_key: SecretStr | None = None
    supabase_region: str = "us-east-1"

    @field_validator("media_storage_backend", "media_former_backend", mode="before")
    @classmethod
    def _has_no_azure(cls, backend: object) -> object:
        if isinstance(backend, str) and backend.lower().startswith("azure"):
            raise ValueError(
                f"{backend}: a container of Azure Blob is reached through a gateway that speaks S3. Run one beside it "
                "(versitygw or S3Proxy), and set MEDIA_STORAGE_BACKEND=s3, S3_ENDPOINT to the gateway, and "
                "AWS_S3_BUCKET, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to what it was told"
            )
        return backend

    @property
    def backend(self) -> Backend:
        return self.media_storage_backend or self.candidates[0]

    @property
    def candidates(self) -> list[Backend]:
        """What would be taken if nothing were said, best first."""
        found: list[Backend] = []
        if self.aws_s3_bucket:
            found.append("s3")
        if self.supabase_service_role_key and self.storage_bucket_name:
            found.append("supabase")
        return found or ["local"]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.media_former_backend == self.backend:
            raise ValueError("MEDIA_FORMER_BACKEND is another than MEDIA_STORAGE_BACKEND")
        for backend in filter(None, (self.backend, self.media_former_backend)):
            needed = _NEEDED.get(backend, ())
            if not all(getattr(self, name) for name in needed):
                raise ValueError(f"{backend} needs {', '.join(map(str.upper, needed))}")
        if "supabase" in {self.backend, self.media_former_backend} and not (
            (self.supabase_s3_access_key_id and self.supabase_s3_secret_access_key)
            or (self.supabase_service_role_key and self.supabase_anon_key)
        ):
            raise ValueError(
                "supabase needs S3 keys of the project, or SUPABASE_SERVICE_ROLE_KEY and SUPABASE_ANON_KEY"
            )
        return self


_NEEDED = {
    "s3": ("aws_s3_bucket", "aws_access_key_id", "aws_secret_access_key"),
    "gcp": ("gcs_bucket", "gcs_hmac_key_id", "gcs_hmac_secret"),
    "supabase": ("storage_bucket_name", "supabase_url"),
}


class MediaSettings(Fragment):
    """What is taken over from providers, and who may look at it. An empty variable is none."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    media_signing_key: SecretStr | None = Field(
        default=None, min_length=16, description="signs media addresses, all or those of what is its owner's alone"
    )
    media_addresses: Literal["public", "signed"] = Field(
        default="signed",
        description="with MEDIA_SIGNING_KEY: `signed` lets every address end, `public` only those of what is its "
        "owner's alone",
    )
    media_accel_prefix: str | None = Field(
        default=None,
        description="an internal location of the nginx in front, whose root is MEDIA_ROOT: it sends what is local",
    )
    media_presigned_seconds: int = Field(
        default=0,
        ge=0,
        le=900,
        description="above 0: clients are sent on to the bucket, by addresses that live so long",
    )
    media_max_bytes: int = Field(default=64 << 20, gt=0, description="the largest picture taken over from a provider")
    media_fetch_seconds: float = Field(
        default=20, gt=0, description="how long one picture may take, all tries together"
    )
    media_recording_max_bytes: int = Field(
        default=2 << 30, gt=0, description="the largest video or sound; it passes through the folder that TMPDIR names"
    )
    media_recording_fetch_seconds: float = Field(
        default=300, gt=0, description="how long one video or sound may take, all tries together"
    )


class KeepingSettings(Fragment):
    """What users may bring, and how long things are kept that no plan of theirs says more about."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    media_upload_max_bytes: int = Field(default=64 << 20, gt=0, description="the largest file that a user may upload")
    clamd_address: str | None = Field(
        default=None, description="host:port of a clamd: what it does not call clean is not taken"
    )
    media_quota_bytes: int = Field(default=0, ge=0, description="what one user may have stored to upload more; 0: any")
    media_retention_days: int = Field(default=0, ge=0, description="after which media is deleted; 0: never")
    media_trash_days: float = Field(default=7, ge=0, description="how long the bytes of what is deleted stay")

    @field_validator("clamd_address")
    @classmethod
    def _is_an_address(cls, address: str | None) -> str | None:
        host, _, port = (address or "").rpartition(":")
        if address is not None and not (host and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError("it has to be host:port")
        return address


class CollectorSettings(Fragment):
    """When objects are deleted that nothing names any more."""

    model_config = SettingsConfigDict(env_prefix="STORAGE_", extra="ignore", frozen=True)

    collect_seconds: float = Field(default=3600, gt=0, description="pause between two rounds of the collector")
    orphan_seconds: float = Field(default=86400, ge=0, description="how long an object must have been without a name")


@dataclass(frozen=True)
class Settings:
    """Everything that storage is told."""

    broker: BrokerSettings
    database: DatabaseSettings
    process: ProcessSettings
    outbound: OutboundSettings
    store: StoreSettings
    media: MediaSettings
    keeping: KeepingSettings
    collector: CollectorSettings

    @classmethod
    def from_environment(cls) -> Self:
        return cls(
            BrokerSettings(),
            DatabaseSettings(_env_prefix="STORAGE_"),
            ProcessSettings(_env_prefix="STORAGE_"),
            OutboundSettings(),
            StoreSettings(),
            MediaSettings(),
            KeepingSettings(),
            CollectorSettings(),
        )
