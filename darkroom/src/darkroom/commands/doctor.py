"""`darkroom doctor`."""

from typing import TYPE_CHECKING, Annotated

import typer

from darkroom.commands.options import DEFAULT_DATA, MISCONFIGURED, Data, fail

if TYPE_CHECKING:
    from darkroom.doctor import Examination


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Check that a deployment is set up as it should be, and say what to do where it is not.

    Looks at what is named: DATABASE_URL (the administrator's), NATS_URL, NATS_MONITORING_URL, GATEWAY_URL,
    PUBLIC_MEDIA_URL, storage's own variables, and every secret in the environment but those that a provider gave.
    Changes nothing. Ends with 1 where something is to be done.
    """
    import asyncio
    import json

    from darkroom.commands.audit import be_quiet
    from darkroom.doctor import examine
    from darkroom.doctor.examination import deployment_of
    from darkroom.stack import NoStackError, Stack

    be_quiet()
    try:
        deployment = deployment_of(Stack.find(data))
    except NoStackError as error:
        fail(str(error), MISCONFIGURED)
    examination = asyncio.run(examine(deployment))
    if as_json:
        typer.echo(json.dumps(examination.as_json(), indent=2))
    else:
        _show(examination)
    if all(part.skipped is not None for part in examination.parts):
        fail(
            "Nothing was looked at: set DATABASE_URL, NATS_URL, GATEWAY_URL, or name the folder of a local stack.",
            MISCONFIGURED,
        )
    raise typer.Exit(1 if examination.findings else 0)


def _show(examination: "Examination") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    table = Table("Part", "Looked at", "To do")
    for part in examination.parts:
        if part.skipped is not None:
            table.add_row(part.name, "[dim]skipped[/]", f"[dim]{escape(part.skipped)}[/]")
        else:
            to_do = f"[bold red]{len(part.findings)}[/]" if part.findings else "[green]nothing[/]"
            table.add_row(part.name, str(part.looked_at), to_do)
    console.print(table)
    for finding in examination.findings:
        console.print(f"[red]{escape(finding.about)}[/] {escape(finding.found)}", soft_wrap=True)
        console.print(f"    → {escape(finding.do)}", soft_wrap=True)
    if not examination.findings and any(part.skipped is None for part in examination.parts):
        console.print("[green]All is as it should be.[/]")
