"""`.env.example`: every variable that a service reads, from the settings themselves.

`python -m darkroom.environment_example > .env.example` writes it anew; a test keeps it true.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from inspect import cleandoc
from textwrap import fill
from typing import Any, get_type_hints

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from gateway.settings import Settings as GatewaySettings
from generator.settings import Settings as GeneratorSettings
from ledger.settings import Settings as LedgerSettings
from runtime.settings import DatabaseSettings, Fragment, ProcessSettings
from storage.settings import Settings as StorageSettings

SERVICES: dict[str, type[Any]] = {
    "gateway": GatewaySettings,
    "generator": GeneratorSettings,
    "storage": StorageSettings,
    "ledger": LedgerSettings,
}
WIDTH = 120
_OF_EACH_SERVICE = (DatabaseSettings, ProcessSettings)
"""Read with the service's name in front: everybody has a role of its own, and an address."""
_INTRODUCTION = """\
Every variable that the services read, with its default; a line without a default has to be set. Made from the settings
by `python -m darkroom.environment_example`: a change here is lost, a change there is checked by a test.

`darkroom up` needs none of them. For containers `deploy/environment.sh` makes a file to begin with, and any of these
lines may be added to it (docs/operating.md).\
"""


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of the environment."""

    name: str
    default: str | None
    """None where it has to be set."""
    description: str
    annotation: Any
    """The type of the setting behind it."""


@dataclass(frozen=True, slots=True)
class Section:
    """What one settings fragment reads."""

    services: tuple[str, ...]
    title: str
    variables: tuple[Variable, ...]


def sections() -> list[Section]:
    """Every fragment that a service composes; one that several share stands once and names them all."""
    shared: dict[tuple[type[Fragment], str], list[str]] = {}
    for service, settings in SERVICES.items():
        hints = get_type_hints(settings)
        for field in fields(settings):
            fragment = hints[field.name]
            prefix = f"{service.upper()}_" if fragment in _OF_EACH_SERVICE else ""
            shared.setdefault((fragment, prefix), []).append(service)
    return [
        Section(tuple(services), cleandoc(fragment.__doc__ or ""), tuple(_variables(fragment, prefix)))
        for (fragment, prefix), services in sorted(shared.items(), key=lambda item: -len(item[1]))
    ]


def environment_example() -> str:
    """The text of `.env.example`."""
    lines = _comment(_INTRODUCTION)
    named: set[str] = set()
    known = sections()
    for section in known:
        unnamed = [variable for variable in section.variables if variable.name not in named]
        named.update(variable.name for variable in unnamed)
        if not unnamed:
            continue
        services = "every service" if len(section.services) == len(SERVICES) else " and ".join(section.services)
        lines += ["", "", *_comment(f"-- {services}: {section.title[0].lower()}{section.title[1:]}")]
        for variable in unnamed:
            others = [name for other in known if variable in other.variables for name in other.services]
            also = f"read by {' and '.join(others)} alike" if others != list(section.services) else ""
            lines += ["", *_comment("; ".join(filter(None, (variable.description, also))))]
            lines.append(_assignment(variable))
    return "\n".join(lines) + "\n"


def _variables(fragment: type[Fragment], prefix: str) -> Iterator[Variable]:
    own_prefix = fragment.model_config.get("env_prefix", "")
    for name, field in fragment.model_fields.items():
        yield Variable(
            str(field.validation_alias or f"{prefix or own_prefix}{name}".upper()),
            None if field.is_required() else _default(field),
            field.description or "",
            field.annotation,
        )


def _default(field: FieldInfo) -> str:
    value = field.get_default()
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value).lower() if isinstance(value, bool) else str(value)


def _assignment(variable: Variable) -> str:
    return f"{variable.name}=" if variable.default is None else f"# {variable.name}={variable.default}"


def _comment(text: str) -> list[str]:
    if not text:
        return []
    return [
        line.rstrip()
        for paragraph in text.split("\n\n")
        for line in ("#", *fill(paragraph, WIDTH, initial_indent="# ", subsequent_indent="# ").splitlines())
    ][1:]


if __name__ == "__main__":
    sys.stdout.write(environment_example())
