"""Which adapter speaks for which provider, and where its key and its address stand in the settings.

Another provider is one line here, two settings, and rows in `models`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import aiohttp
from pydantic import SecretStr

from generator.providers import (
    anthropic,
    compatible,
    darkroom,
    elevenlabs,
    fal,
    flow,
    google,
    modelark,
    openai,
    replicate,
    runway,
    stability,
)
from generator.providers.interface import Provider
from generator.settings import ProviderSettings, pairs

Make = Callable[[aiohttp.ClientSession, str, str], Provider]
"""Of the session that everybody shares, a key, and the base address."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """One provider. Of several settings that may hold the key, the first that does counts."""

    name: str
    make: Make
    base_url: str
    keys: tuple[str, ...]


ADAPTERS = (
    Adapter(modelark.NAME, modelark.ModelArk, "ark_base_url", ("ark_api_key",)),
    Adapter(openai.NAME, openai.OpenAI, "openai_base_url", ("openai_api_key",)),
    Adapter(stability.NAME, stability.Stability, "stability_base_url", ("stability_api_key",)),
    Adapter(fal.NAME, fal.Fal, "fal_base_url", ("fal_key",)),
    Adapter(anthropic.NAME, anthropic.Anthropic, "anthropic_base_url", ("anthropic_api_key",)),
    Adapter(elevenlabs.NAME, elevenlabs.ElevenLabs, "elevenlabs_base_url", ("elevenlabs_api_key",)),
    Adapter(google.NAME, google.Google, "gemini_base_url", ("gemini_api_key", "google_api_key")),
    Adapter(runway.NAME, runway.Runway, "runwayml_base_url", ("runwayml_api_secret",)),
    Adapter(replicate.NAME, replicate.Replicate, "replicate_base_url", ("replicate_api_token",)),
    Adapter(flow.NAME, flow.Flow, "flow_base_url", ("flow_api_key",)),
)


def keys(settings: ProviderSettings) -> Mapping[str, str]:
    """The key of each provider that has one; a server of the operator's own needs none."""
    found = dict.fromkeys(servers(settings), "")
    for adapter in ADAPTERS:
        given: list[SecretStr] = [getattr(settings, name) for name in adapter.keys]
        key = next((key.get_secret_value() for key in given if key.get_secret_value()), None)
        if key is not None:
            found[adapter.name] = key
    return found | dict(pairs(settings.openai_compatible_keys.get_secret_value()))


def servers(settings: ProviderSettings) -> Mapping[str, str]:
    """The base address of each server of the operator's own, by its name."""
    return dict(pairs(settings.openai_compatible_servers))


def make_providers(session: aiohttp.ClientSession, settings: ProviderSettings) -> dict[str, Provider]:
    """An adapter for each provider that has a key, and for each server."""
    return {name: make_provider(session, settings, name, key) for name, key in keys(settings).items()}


def everybody(session: aiohttp.ClientSession, settings: ProviderSettings) -> dict[str, Provider]:
    """The providers that have a key, and ourselves."""
    return {**make_providers(session, settings), darkroom.NAME: darkroom.Darkroom(session)}


def make_provider(session: aiohttp.ClientSession, settings: ProviderSettings, name: str, key: str) -> Provider:
    """The adapter of a provider, with somebody's key. Raises KeyError for a name that is none."""
    adapter = next((adapter for adapter in ADAPTERS if adapter.name == name), None)
    if adapter is None:
        return compatible.Compatible(session, key, servers(settings)[name], name=name)
    return adapter.make(session, key, getattr(settings, adapter.base_url))
