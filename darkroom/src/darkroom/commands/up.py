"""`darkroom up`."""

import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from darkroom.commands.options import DEFAULT_DATA, Data, fail


def up(
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="The gateway's port; otherwise the former one, or a free one."),
    ] = None,
    data: Data = DEFAULT_DATA,
    s3: Annotated[bool, typer.Option("--s3", help="Keep media in a real S3 server instead of files.")] = False,
    ready_file: Annotated[
        Path | None, typer.Option(help="Written, as JSON, once everything is ready: addresses, token, process ids.")
    ] = None,
    frontends: Annotated[
        bool, typer.Option("--frontends", help="Also listen where old frontends look for their backends.")
    ] = False,
    fal_port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="Also listen here for clients of fal's queue: whatever ends TLS leads to it."
        ),
    ] = None,
) -> None:
    """Run the whole stack on this machine; Ctrl-C stops it.

    Real NATS and Postgres, the four services, and a simulator of the providers where no key of one is set
    (ARK_API_KEY, OPENAI_API_KEY, …). Variables of the environment reach the services. With --frontends the gateway
    also listens on 3001 (modelark), 5001 or PORT (reelmate), 8000 (instaveo) and 57988 (jaaz) of loopback;
    MODELARK_PORT, REELMATE_PORT, INSTAVEO_PORT and JAAZ_PORT say otherwise.
    """
    from rich.console import Console

    from darkroom.supervisor.supervisor import StackError, StoppedError, Supervisor, Wishes

    console = Console(highlight=False, soft_wrap=True)
    started_at = time.monotonic()
    supervisor = Supervisor(
        Wishes(data, port, s3, ready_file, frontends, fal_port), say=lambda words: console.print(words, markup=False)
    )
    _stop_on_signals(supervisor.stopping)
    try:
        with supervisor.owning():
            console.print(f"Darkroom starts in {data} …", markup=False)
            try:
                ready = supervisor.start()
                _tell(console, ready, data, time.monotonic() - started_at)
                supervisor.stopping.wait()
                console.print("Stopping …")
            finally:
                supervisor.stop()
    except StoppedError:
        pass
    except StackError as error:
        fail(f"Darkroom did not start: {error}\nLogs are in {data / 'logs'}.")
    console.print("Stopped.")


def _stop_on_signals(stopping: Any) -> None:
    """The first Ctrl-C stops in order; the second one at once: the children end with their parent."""

    def stop(number: int, _: Any) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup arranges it
            signal.signal(number, stop)


def _tell(console: Any, ready: dict[str, Any], data: Path, seconds: float) -> None:
    where = f" --data {data}" if data != DEFAULT_DATA else ""
    console.print(
        f"\n[bold green]Darkroom is ready[/] after {seconds:.1f} s.\n\n"
        f"  API   [bold]{ready['url']}[/]\n"
        f"  Docs  {ready['url']}/docs\n\n"
        "Requests without a token act as the local development user. Make a first picture:\n"
    )
    console.print(f'  {_command()} generate "A beautiful sunset over mountains"{where}\n', markup=False, style="bold")
    for dialect, block in ready["frontends"].items():
        console.print(f"[bold]{dialect}[/]'s frontend:\n")
        for name, value in block.items():
            console.print(f"  {name}={value}", markup=False)
        console.print()
    console.print(f"Logs are in {data / 'logs'}. Ctrl-C stops everything.", markup=False)


def _command() -> str:
    """How to call this program from here."""
    own = Path(sys.argv[0])
    found = shutil.which("darkroom")
    if own.name != "darkroom" or (found is not None and Path(found).resolve() == own.resolve()):
        return "darkroom"
    try:
        return str(own.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(own)
