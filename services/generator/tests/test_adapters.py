"""Which providers there are follows from the keys in the settings."""

import pytest
from pydantic import SecretStr

from generator.adapters import ADAPTERS, keys, make_provider, make_providers, servers
from generator.settings import ProviderSettings
from runtime.outbound import OutboundSettings, make_session


def settings(**given):
    return ProviderSettings(_env_file=None, **{name: SecretStr(key) for name, key in given.items()})


@pytest.fixture(autouse=True)
def no_keys_of_this_machine(monkeypatch):
    for adapter in ADAPTERS:
        for name in adapter.keys:
            monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.name)
async def test_a_provider_is_there_where_its_key_is(adapter):
    for name in adapter.keys:
        assert keys(settings(**{name: "sk-1"})) == {adapter.name: "sk-1"}
    async with make_session(OutboundSettings()) as session:
        made = make_providers(session, settings(**{adapter.keys[0]: "sk-1"}))
    assert [(name, provider.name) for name, provider in made.items()] == [(adapter.name, adapter.name)]


def test_without_a_key_there_is_nobody():
    assert keys(settings()) == {}


async def test_servers_of_the_operators_own_have_names_and_need_no_key():
    given = ProviderSettings(
        openai_compatible_servers="local=http://10.0.0.5:8000/v1, big=https://models.example/v1",
        openai_compatible_keys=SecretStr("big=sk-2"),
    )
    assert servers(given) == {"local": "http://10.0.0.5:8000/v1", "big": "https://models.example/v1"}
    assert keys(given) == {"local": "", "big": "sk-2"}
    async with make_session(OutboundSettings()) as session:
        assert {provider.name for provider in make_providers(session, given).values()} == {"local", "big"}
        with pytest.raises(KeyError):
            make_provider(session, given, "nobody", "sk-3")


def test_what_cannot_be_read_is_said_at_the_start():
    with pytest.raises(ValueError, match="name=value"):
        keys(ProviderSettings(openai_compatible_servers="http://10.0.0.5:8000/v1"))
