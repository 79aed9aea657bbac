"""What the environment says, and what it must not say."""

import time
from dataclasses import fields
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import SecretStr

from contracts.facts import Visibility
from contracts.media import signed
from gateway.dialects.surface import Surface
from gateway.identity import jwks_url
from gateway.settings import AddressSettings, Settings, TokenSettings

KEY = "the key of the addresses"


@pytest.fixture(autouse=True)
def required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_DATABASE_URL", "postgresql://gateway@127.0.0.1/darkroom")
    monkeypatch.setenv("SUPABASE_JWT_SECRET", "the key of the tokens")


def test_a_gateway_that_believes_nobody_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would answer 401 to everybody, and look well."""
    monkeypatch.delenv("SUPABASE_JWT_SECRET")
    with pytest.raises(ValueError, match="SUPABASE_JWT_SECRET or SUPABASE_URL has to be set"):
        Settings.from_environment()
    monkeypatch.setenv("SUPABASE_URL", "https://project.supabase.example")
    assert Settings.from_environment().tokens.are_believed
    monkeypatch.delenv("SUPABASE_URL")
    monkeypatch.setenv("GATEWAY_LOCAL_MODE", "true")
    Settings.from_environment()


def test_every_variable_has_its_documented_name(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "NATS_URL": "nats://nats:4222",
        "GATEWAY_HOST": "0.0.0.0",
        "GATEWAY_PORT": "3001",
        "GATEWAY_DATABASE_POOL_SIZE": "7",
        "GATEWAY_REQUESTS_PER_MINUTE": "9",
        "GATEWAY_INTERACTIVE_SLOTS": "4",
        "GATEWAY_MAX_BODY_BYTES": "5",
        "GATEWAY_SYNC_WAIT_SECONDS": "6.5",
        "GATEWAY_SWEEP_FIRST_DRIVE_SECONDS": "8",
        "PUBLIC_URL": "https://darkroom.example",
        "PUBLIC_MEDIA_URL": "https://media.example",
        "CORS_ORIGINS": "https://a.example,https://b.example",
        "SUPABASE_JWT_SECRET": "hush, hush, hush",
        "SUPABASE_URL": "https://project.supabase.example/",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings.from_environment()
    assert (settings.broker.nats_url, settings.process.host, settings.process.port) == (
        "nats://nats:4222",
        "0.0.0.0",
        3001,
    )
    assert settings.database.database_pool_size == 7
    limits = settings.limits
    assert (limits.requests_per_minute, limits.interactive_slots, limits.max_body_bytes) == (9, 4, 5)
    assert (limits.sync_wait_seconds, settings.sweeper.first_drive_seconds) == (6.5, 8)
    assert settings.addresses.public_url == "https://darkroom.example"
    assert jwks_url(settings.tokens) == "https://project.supabase.example/auth/v1/.well-known/jwks.json"
    assert "hush" not in repr(settings)


def test_media_addresses_are_signed_where_a_key_is_given() -> None:
    unneeded: dict[str, Any] = dict.fromkeys(field.name for field in fields(Surface))
    addresses = AddressSettings(public_url="https://darkroom.example/", media_signing_key=SecretStr(KEY))
    surface = Surface(**(unneeded | {"addresses": addresses}))
    url = urlsplit(surface.address("token/original.png", visibility=Visibility.PUBLIC))
    assert url.path == "/media/token/original.png"
    query = parse_qs(url.query)
    expires = int(query["expires"][0])
    assert 3600 * 3 // 4 - 1 < expires - time.time() <= 3600
    assert signed(url.path, expires, query["signature"][0], KEY)


def test_an_empty_secret_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """`${SUPABASE_JWT_SECRET:-}` in a compose file gives an empty text, under which anybody could sign."""
    for name in ("SUPABASE_JWT_SECRET", "SUPABASE_URL", "SUPABASE_JWKS_URL", "MEDIA_SIGNING_KEY"):
        monkeypatch.setenv(name, "")
    tokens = TokenSettings()
    assert (tokens.supabase_jwt_secret, tokens.supabase_url, jwks_url(tokens)) == (None, None, None)
    assert AddressSettings().media_signing_key is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gateway.example"])
def test_local_mode_on_an_open_address_refuses_to_start(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("GATEWAY_LOCAL_MODE", "true")
    monkeypatch.setenv("GATEWAY_HOST", host)
    with pytest.raises(ValueError, match="loopback"):
        Settings.from_environment()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_local_mode_on_loopback_starts(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setenv("GATEWAY_LOCAL_MODE", "true")
    monkeypatch.setenv("GATEWAY_HOST", host)
    assert Settings.from_environment().limits.local_mode


def test_media_addresses_begin_with_the_cdn(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty domain is none; a general one comes before CloudFront's."""
    for name in ("CLOUDFRONT_DOMAIN", "MEDIA_CDN_DOMAIN"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PUBLIC_URL", "https://darkroom.example/")
    assert AddressSettings().media_base == "https://darkroom.example"
    monkeypatch.setenv("CLOUDFRONT_DOMAIN", "d111111abcdef8.cloudfront.net")
    assert AddressSettings().media_base == "https://d111111abcdef8.cloudfront.net"
    monkeypatch.setenv("MEDIA_CDN_DOMAIN", "http://cdn.example/")
    assert AddressSettings().media_base == "http://cdn.example"


@pytest.mark.parametrize(
    ("given", "origins", "level"),
    [
        ({}, "*", "INFO"),
        ({"FRONTEND_URL": "https://app.example/"}, "https://app.example", "INFO"),
        ({"FRONTEND_URL": "https://app.example", "CORS_ORIGINS": "https://own.example"}, "https://own.example", "INFO"),
        ({"NODE_ENV": "development"}, "*", "DEBUG"),
        ({"DEBUG": "*"}, "*", "DEBUG"),
        ({"NODE_ENV": "production", "DEBUG": "express:router"}, "*", "INFO"),
        ({"DEBUG": "*", "GATEWAY_LOG_LEVEL": "ERROR"}, "*", "ERROR"),
        ({"GATEWAY_LOG_LEVEL": "WARN"}, "*", "WARN"),
    ],
)
def test_the_frontends_own_variables_count_where_ours_say_nothing(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], origins: str, level: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = Settings.from_environment()
    assert (settings.addresses.cors_origins, settings.process.log_level) == (origins, level)
