"""The ports that old frontends have written down, and what each has to be told: one block of environment each."""

from collections.abc import Mapping
from dataclasses import dataclass

from darkroom.embedded.ports import LOOPBACK


@dataclass(frozen=True, slots=True)
class Frontend:
    """One dialect's frontend: where it looks for its backend, and what it calls that."""

    port: int
    port_variables: tuple[str, ...]
    """The operator's variables that say another one; the first that is set counts."""
    environment: Mapping[str, str]
    """Its variables, with `{url}`, `{anon_key}`."""


_VITE_SUPABASE = {"VITE_SUPABASE_URL": "{url}", "VITE_SUPABASE_ANON_KEY": "{anon_key}"}
FRONTENDS: Mapping[str, Frontend] = {
    "modelark": Frontend(
        3001,
        ("MODELARK_PORT",),
        {
            "REACT_APP_API_BASE_URL": "{url}",
            "REACT_APP_SUPABASE_URL": "{url}",
            "REACT_APP_SUPABASE_ANON_KEY": "{anon_key}",
        },
    ),
    "reelmate": Frontend(
        5001,
        ("REELMATE_PORT", "PORT"),
        {"VITE_API_URL": "{url}/api", "VITE_API_BASE_URL": "{url}/api", **_VITE_SUPABASE},
    ),
    "instaveo": Frontend(
        8000,
        ("INSTAVEO_PORT",),
        {
            "NEXT_PUBLIC_API_URL": "{url}",
            "NEXT_PUBLIC_SUPABASE_URL": "{url}",
            "NEXT_PUBLIC_SUPABASE_ANON_KEY": "{anon_key}",
        },
    ),
    "jaaz": Frontend(57988, ("JAAZ_PORT",), {"VITE_JAAZ_BASE_API_URL": "{url}", **_VITE_SUPABASE}),
}

FAL = "fal"
"""No frontend: programs that speak to fal's queue, which has a door of its own."""


def asked_ports(operator: Mapping[str, str]) -> dict[str, int]:
    """Dialect → the port of its frontend's backend."""
    return {
        dialect: next((int(operator[name]) for name in frontend.port_variables if operator.get(name)), frontend.port)
        for dialect, frontend in FRONTENDS.items()
    }


def blocks(ports: Mapping[str, int], anon_key: str) -> dict[str, dict[str, str]]:
    """Dialect → what its frontend's environment has to say."""
    return {
        dialect: {
            name: value.format(url=f"http://{LOOPBACK}:{port}", anon_key=anon_key)
            for name, value in FRONTENDS[dialect].environment.items()
        }
        for dialect, port in ports.items()
        if dialect in FRONTENDS
    }
