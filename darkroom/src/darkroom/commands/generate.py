"""`darkroom generate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from darkroom.commands.options import DEFAULT_DATA, MISCONFIGURED, Data, fail

if TYPE_CHECKING:
    from darkroom.client import AsyncClient, Generation, NewGeneration


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

    wanted: NewGeneration = {"kind": kind, "prompt": prompt, "count": count}
    if model is not None:
        wanted["model"] = model
    if size is not None:
        wanted["size"] = size
    stack = Stack.find(data)
    try:
        output.mkdir(parents=True, exist_ok=True)
        asyncio.run(_generate(stack.address("url"), stack.optional("token"), wanted, output))
    except NoStackError as error:
        fail(str(error), MISCONFIGURED)
    except (ApiError, OSError) as error:
        fail(str(error))
    except KeyboardInterrupt:
        fail("Stopped watching; what was accepted goes on.", 130)


async def _generate(url: str, token: str | None, wanted: "NewGeneration", output: Path) -> None:
    import asyncio

    from rich.console import Console

    from darkroom.client import ApiError, AsyncClient

    console = Console(highlight=False, soft_wrap=True)
    async with AsyncClient(url, token) as client:
        generation = await client.generate(**wanted)
        try:
            generation = await _watch(client, generation, console)
            paths = await client.save(generation, output) if generation.status == "completed" else []
        except (ApiError, OSError, asyncio.CancelledError):
            # Such as Ctrl-C. It goes on, and is paid for: whoever asked for it has to find it.
            typer.echo(f"It is {url}/v1/generations/{generation.id}, and in the studio at {url}/.", err=True)
            raise
        if generation.status != "completed":
            reason = generation.error.message if generation.error else "no reason given"
            fail(f"The generation was not completed ({generation.status}): {reason}")
        for path in paths:
            console.print(str(path), markup=False, style="bold")
        if generation.text is not None:
            console.print(generation.text, markup=False)
        elif len(generation.assets) < generation.count:
            console.print(f"{len(generation.assets)} of {generation.count} were delivered; only those are paid for.")
        left = (await client.credits()).available
        console.print(f"Cost: {generation.cost:,} credits. Left: {left:,}.")


async def _watch(client: "AsyncClient", generation: "Generation", console: Any) -> "Generation":
    """Shows how far it is; returns the generation once it is final."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    from darkroom.client import Generation

    columns = (TextColumn("{task.description:<10}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(generation.status, total=100)
        async for seen in client.follow(generation):
            if isinstance(seen, Generation):
                generation = seen
                progress.update(task, description=seen.status)
            else:
                progress.update(task, completed=seen.percent, description=seen.stage)
        done = 100 if generation.status == "completed" else None
        progress.update(task, completed=done, description=generation.status)
    return generation
