"""`darkroom generate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from darkroom.commands.options import DEFAULT_DATA, Data, fail


def generate(
    prompt: Annotated[str, typer.Argument(help="What to make, in words.")],
    kind: Annotated[str, typer.Option(help="image, video, speech or text.")] = "image",
    model: Annotated[str | None, typer.Option(help="One of the gateway's models; its default if absent.")] = None,
    count: Annotated[int, typer.Option(help="How many.")] = 1,
    size: Annotated[str | None, typer.Option(help="Width x height, such as 1024x1024.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the files.", metavar="DIR")] = Path(),
    data: Data = DEFAULT_DATA,
) -> None:
    """Make something, watch it come, and save it.

    Uses the local stack and its development user, or GATEWAY_URL and DARKROOM_TOKEN.
    """
    import asyncio

    from darkroom.client import ApiError
    from darkroom.stack import NoStackError, Stack

    wanted = {"kind": kind, "prompt": prompt, "count": count, "model": model, "size": size}
    wanted = {name: value for name, value in wanted.items() if value is not None}
    stack = Stack.find(data)
    try:
        output.mkdir(parents=True, exist_ok=True)
        asyncio.run(_generate(stack.address("url"), stack.optional("token"), wanted, output))
    except (NoStackError, ApiError, OSError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("Stopped watching; what was accepted goes on.", 130)


async def _generate(url: str, token: str | None, wanted: dict[str, Any], output: Path) -> None:
    from rich.console import Console

    from darkroom.client import Client, file_names

    console = Console(highlight=False, soft_wrap=True)
    async with Client(url, token) as client:
        generation = await client.order(wanted)
        generation = await _watch(client, generation, console)
        if generation["status"] != "completed":
            error = generation.get("error") or {}
            fail(
                f"The generation was not completed ({generation['status']}): {error.get('message', 'no reason given')}"
            )
        for asset, name in zip(generation["assets"], file_names(generation), strict=True):
            path = output / name
            await client.fetch(asset, path)
            console.print(str(path), markup=False, style="bold")
        written = generation.get("text")
        if written is not None:
            console.print(written, markup=False)
        delivered, asked = len(generation["assets"]), generation["count"]
        if written is None and delivered < asked:
            console.print(f"{delivered} of {asked} were delivered; only those are paid for.")
        left = (await client.credits())["available"]
        console.print(f"Cost: {generation['cost']:,} credits. Left: {left:,}.")


async def _watch(client: Any, generation: dict[str, Any], console: Any) -> dict[str, Any]:
    """Shows how far it is; returns the generation once it is final."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<10}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(generation["status"], total=100)
        async for event, data in client.follow(generation):
            if event == "progress":
                progress.update(task, completed=data["percent"], description=data["stage"])
            elif event == "generation":
                progress.update(task, description=data["status"])
            else:
                generation = data
        done = 100 if generation["status"] == "completed" else None
        progress.update(task, completed=done, description=generation["status"])
    return generation
