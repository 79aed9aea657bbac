"""`darkroom audit`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkroom.commands.options import DEFAULT_DATA, MISCONFIGURED, Data, fail

if TYPE_CHECKING:
    from darkroom.audit.findings import Report


def audit(
    deep: Annotated[bool, typer.Option("--deep", help="Read every object, not a sample.")] = False,
    settle: Annotated[float, typer.Option(min=0, help="Seconds in which services react to an outcome.")] = 30,
    grace: Annotated[float, typer.Option(min=0, help="Seconds past its deadline for a generation to end.")] = 600,
    days: Annotated[float, typer.Option(min=0.001, help="How far back generations are looked at.")] = 30,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Check what always holds: one outcome each, balanced books, one payment per attempt, every byte there.

    Changes nothing. Looks at the database, and at the log, the objects and the simulator's journal where it is told of
    them: DATABASE_URL, NATS_URL, MEDIA_… or S3 variables, SIMULATOR_URL. Exit code 1 where something is wrong.
    """
    import asyncio
    import json

    import aiohttp
    import asyncpg
    from nats.errors import Error as NatsError

    from darkroom.audit import examine
    from darkroom.audit.evidence import Bounds
    from darkroom.stack import NoStackError, Stack

    be_quiet()
    stack = Stack.find(data)
    try:
        report = asyncio.run(
            examine(
                stack.address("database_url"),
                nats_url=stack.optional("nats_url"),
                simulator_url=stack.optional("simulator_url"),
                storage_environment=stack.storage_environment(),
                bounds=Bounds(settle_seconds=settle, grace_seconds=grace, days=days, deep=deep),
            )
        )
    except NoStackError as error:
        fail(str(error), MISCONFIGURED)
    except (OSError, asyncpg.PostgresError, NatsError, aiohttp.ClientError) as error:
        fail(f"The audit could not be made: {type(error).__name__}: {error}", 2)
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=2, default=str))
    else:
        _show(report)
    raise typer.Exit(0 if report.clean else 1)


def _show(report: "Report") -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    table = Table("Check", "Promise", "Looked at", "Wrong")
    for result in report.results:
        if result.skipped is not None:
            table.add_row(result.check, result.promise, "[dim]skipped[/]", f"[dim]{escape(result.skipped)}[/]")
        else:
            wrong = f"[bold red]{result.wrong}[/]" if result.wrong else "[green]none[/]"
            table.add_row(result.check, result.promise, f"{result.looked_at:,}", wrong)
    console.print(table)
    for finding in (finding for result in report.results for finding in result.findings):
        colour = "red" if finding.severity == "wrong" else "dim"
        console.print(f"[{colour}]{finding.check}:[/] {escape(finding.about)} {escape(finding.words)}", soft_wrap=True)
    console.print("[green]Nothing is wrong.[/]" if report.clean else f"[bold red]{len(report.wrong)} findings.[/]")


def be_quiet() -> Any:
    """Parts of the services are used, and they would log."""
    import logging

    import structlog

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
