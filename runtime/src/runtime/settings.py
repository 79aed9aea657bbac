"""Settings fragments. A service composes those it needs, builds them once in its `app.py` and passes them down."""

import sys
from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

MISCONFIGURED = 78
"""How a process ends that is told too little, or something wrong (EX_CONFIG of sysexits.h)."""
# Addresses as NATS's clients read them, comma-separated; one without a scheme names its port.
SERVERS = r"^(((nats|tls|wss?)://([^,/?#]+@)?(\[[^\s,]+\]|[^\s,/?#:@]+)(:\d{1,5})?|[^\s,/?#:@]+:\d{1,5})/?(, ?\b|$))+$"
Settings = TypeVar("Settings")


class Fragment(BaseSettings, allow_inf_nan=False):
    """Read from the environment; each service sets its own prefix for what is its own."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True, hide_input_in_errors=True)


class BrokerSettings(Fragment):
    """Where NATS is. User and password, where needed, stand in the address or beside it."""

    nats_url: str = Field(default="nats://127.0.0.1:4222", pattern=SERVERS, description="NATS servers, comma-separated")
    nats_user: str | None = None
    nats_password: SecretStr | None = None


class DatabaseSettings(Fragment):
    """The service's own role and schema in Postgres."""

    database_url: SecretStr = Field(
        description="where its role and schema in Postgres are: postgresql://role:password@host:port/database"
    )
    # Two keep locks for as long as a round takes, and each round asks for one more.
    database_pool_size: int = Field(default=10, ge=3, description="connections held by one process, at least 3")

    @field_validator("database_url")
    @classmethod
    def _names_a_database(cls, url: SecretStr) -> SecretStr:
        if not url.get_secret_value().startswith("postgresql"):
            raise ValueError("it has to be postgresql://role:password@host:port/database")
        return url


class ProcessSettings(Fragment):
    """How the process listens and speaks."""

    host: str = "127.0.0.1"
    port: int = Field(default=0, ge=0, le=65535)
    log_level: Literal["DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL", "FATAL"] = "INFO"
    otel_exporter_otlp_endpoint: str | None = Field(
        default=None,
        validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT",
        description="OTLP/HTTP collector; traces are off without it",
    )


def configured(service: str, read: Callable[[], Settings]) -> Settings:
    """What `read` makes of the environment, or the end of the process: a line for each variable that is missing or
    wrong, with what it is for, and never with its value.
    """
    try:
        return read()
    except ValidationError as error:
        wrong = list(_in_words(error, f"{service}_"))
    except ValueError as error:
        wrong = [str(error)]
    sys.stderr.writelines(f"{service} cannot start: {line}\n" for line in wrong)
    raise SystemExit(MISCONFIGURED)


def _in_words(error: ValidationError, prefix: str) -> Iterator[str]:
    part = next(each for each in Fragment.__subclasses__() if each.__name__ == error.title)
    for wrong in error.errors(include_input=False, include_url=False):
        field = str(wrong["loc"][0]) if wrong["loc"] else ""
        about = part.model_fields.get(field)
        # These two are read with the service's own name in front.
        before = prefix if part in (DatabaseSettings, ProcessSettings) else part.model_config.get("env_prefix", "")
        name = (field if about is None else f"{before}{field}").upper()
        if wrong["type"] == "missing":
            yield f"{name} is not set: {about.description if about else ''}"
        else:
            yield ": ".join(filter(None, (name, wrong["msg"].removeprefix("Value error, "))))
