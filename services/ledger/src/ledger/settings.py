"""The ledger's settings, from the environment."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Self

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from contracts.money import to_units
from runtime.settings import BrokerSettings, DatabaseSettings, Fragment, ProcessSettings


class CreditSettings(Fragment):
    """What users are given."""

    default_user_credits: Decimal = Field(default=Decimal(10), ge=0, description="a new user's credits, once")

    @field_validator("default_user_credits")
    @classmethod
    def _countable(cls, amount: Decimal) -> Decimal:
        to_units(amount)
        return amount

    @property
    def starting_grant(self) -> int:
        """In units."""
        return to_units(self.default_user_credits)


class ReconcilerSettings(Fragment):
    """When the ledger asks how things ended instead of waiting to hear it."""

    model_config = SettingsConfigDict(env_prefix="LEDGER_", extra="ignore", frozen=True)

    hold_overdue_seconds: float = Field(default=5400, gt=0, description="age of an open hold that is asked about")
    reconcile_seconds: float = Field(default=5, gt=0, description="pause between two rounds of asking")


class PaymentSettings(Fragment):
    """Stripe. Without its secret key nothing is for sale."""

    stripe_secret_key: SecretStr | None = Field(default=None, description="sk_… or rk_…; payments are off without it")
    stripe_webhook_secret: SecretStr | None = Field(default=None, description="whsec_… of our endpoint there")
    stripe_publishable_key: str | None = Field(default=None, description="pk_…, which browsers are told")
    stripe_base_url: str = Field(
        default="https://api.stripe.com", pattern=r"^https?://[^\s/?#]+(/\S*)?$", description="where Stripe's API is"
    )
    stripe_pull_seconds: float = Field(default=60, gt=0, description="pause between two looks for what no webhook said")


@dataclass(frozen=True)
class Settings:
    """Everything that the ledger is told."""

    broker: BrokerSettings
    database: DatabaseSettings
    process: ProcessSettings
    credits: CreditSettings
    reconciler: ReconcilerSettings
    payments: PaymentSettings

    @classmethod
    def from_environment(cls) -> Self:
        return cls(
            BrokerSettings(),
            DatabaseSettings(_env_prefix="LEDGER_"),
            ProcessSettings(_env_prefix="LEDGER_"),
            CreditSettings(),
            ReconcilerSettings(),
            PaymentSettings(),
        )
