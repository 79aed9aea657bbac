"""What several commands share: where the stack is, and how they give up."""

import sys
from pathlib import Path
from typing import Annotated, NoReturn

import typer

Data = Annotated[Path, typer.Option("--data", help="Folder of a local stack.", show_default=True)]
DEFAULT_DATA = Path(".darkroom")
MISCONFIGURED = 78
"""How a command ends that nobody told where something is; a service ends in the same way."""


def text(value: str | None) -> str | None:
    """For an option that is sent on: bytes that are no letters can be neither sent nor kept."""
    if value is not None and any("\ud800" <= letter <= "\udfff" for letter in value):
        raise typer.BadParameter("is no text in UTF-8")
    return value


def fail(message: str, code: int = 1) -> NoReturn:
    """Says in words what is wrong, on stderr, and ends the command."""
    sys.stderr.write(message.rstrip() + "\n")
    raise typer.Exit(code)
