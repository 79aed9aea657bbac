"""The table of commands. Each loads what it needs only when it runs."""

import io
import sys

import typer

from darkroom.commands import (
    audit,
    dead,
    doctor,
    generate,
    grant,
    media,
    migrate,
    models,
    plan,
    prices,
    schemas,
    statement,
    token,
    topology,
    up,
)

app = typer.Typer(
    help="Darkroom: one request in, a finished, stored, paid-for picture out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
app.command("up")(up.up)
app.command("generate")(generate.generate)
app.command("token")(token.token)
app.command("grant")(grant.grant)
app.command("plan")(plan.plan)
app.command("statement")(statement.statement)
app.command("migrate")(migrate.migrate)
app.command("topology")(topology.topology)
app.command("audit")(audit.audit)
app.command("doctor")(doctor.doctor)
app.command("schemas")(schemas.schemas)
app.add_typer(prices.app, name="prices")
app.add_typer(models.app, name="models")
app.add_typer(dead.app, name="dead")
app.add_typer(media.app, name="media")


def main() -> None:
    """Runs the command that was asked for."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # What a terminal has no letter for is said in another way: a text that was paid for would be lost.
        sys.stdout.reconfigure(errors="backslashreplace")
    app()
