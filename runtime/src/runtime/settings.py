"""Settings fragments. A service composes those it needs, builds them once in its `app.py` and passes them down."""

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Fragment(BaseSettings):
    """Read from the environment; each service sets its own prefix for what is its own."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True, hide_input_in_errors=True)


class BrokerSettings(Fragment):
    """Where NATS is. User and password, where needed, stand in the address or beside it."""

    nats_url: str = Field(default="nats://127.0.0.1:4222", description="NATS servers, comma-separated")
    nats_user: str | None = None
    nats_password: SecretStr | None = None


class DatabaseSettings(Fragment):
    """The service's own role and schema in Postgres."""

    database_url: SecretStr = Field(description="postgresql://role:password@host:port/database")
    database_pool_size: int = Field(default=10, ge=1, description="connections held by one process")


class ProcessSettings(Fragment):
    """How the process listens and speaks."""

    host: str = "127.0.0.1"
    port: int = 0
    log_level: str = "INFO"
    otel_exporter_otlp_endpoint: str | None = Field(
        default=None,
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="OTLP/HTTP collector; traces are off without it",
    )
