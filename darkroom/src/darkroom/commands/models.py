"""`darkroom models`, `models show`, `models off` and `models on`."""

from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from darkroom.commands.options import DEFAULT_DATA, MISCONFIGURED, Data, fail, text

if TYPE_CHECKING:
    from contracts.model import Frozen
    from contracts.questions import ListedModel

ANSWER_SECONDS = 5.0

A = TypeVar("A", bound="Frozen")
Id = Annotated[str, typer.Argument(help="As in seedream-3-0-t2i-250415.", metavar="MODEL", callback=text)]

app = typer.Typer(invoke_without_command=True)


@app.callback()
def models(context: typer.Context, data: Data = DEFAULT_DATA) -> None:
    """Print all models: what is offered, and who does the work."""
    if context.invoked_subcommand is not None:
        # Said before the subcommand it is meant for it, too.
        context.default_map = {context.invoked_subcommand: {"data": data}}
        return
    from rich.console import Console

    Console().print(_table(_listed(data)))


@app.command("show")
def show(model: Id, data: Data = DEFAULT_DATA) -> None:
    """Print all that is known of one model."""
    found = next((each for each in _listed(data) if each.model.id == model), None)
    if found is None:
        fail(f"There is no model {model!r}.")
    facts = found.model.model_dump(mode="json") | found.model_dump(mode="json", exclude={"model"})
    for name, value in facts.items():
        words = ", ".join(map(str, value)) if isinstance(value, list) else value
        typer.echo(f"{name}: {'' if words is None else words}")


@app.command("off")
def off(model: Id, data: Data = DEFAULT_DATA) -> None:
    """Offer a model no longer. Gateways go on offering it for up to half a minute; it fails then, uncharged."""
    _switch(model, data, on=False)


@app.command("on")
def on(model: Id, data: Data = DEFAULT_DATA) -> None:
    """Offer a model again, as it was."""
    _switch(model, data, on=True)


def _switch(name: str, data: Data, *, on: bool) -> None:
    from contracts.questions import GENERATOR_SWITCH_MODEL, SwitchedModel, SwitchModel

    answer = _ask(data, GENERATOR_SWITCH_MODEL, SwitchModel(id=name, on=on), SwitchedModel)
    if answer.model is None:
        fail(answer.problem or "Nothing was changed.")
    typer.echo(
        f"{name} is {answer.model.model.state}{'' if answer.model.has_key else ', and its provider has no key'}."
    )


def _listed(data: Data) -> "tuple[ListedModel, ...]":
    from contracts.questions import GENERATOR_MODELS, Models, Nothing

    return _ask(data, GENERATOR_MODELS, Nothing(), Models).models


def _ask(data: Data, subject: str, question: "Frozen", answer: type[A]) -> A:
    """What the generator says; ends with words where it says nothing."""
    import asyncio

    from nats.errors import Error as NatsError
    from pydantic import ValidationError

    from darkroom.jetstream import connect
    from darkroom.stack import NoStackError, Stack

    async def ask(nats_url: str) -> A:
        client = await connect(nats_url, "models")
        try:
            said = await client.request(subject, question.model_dump_json().encode(), timeout=ANSWER_SECONDS)
            return answer.model_validate_json(said.data)
        finally:
            await client.close()

    try:
        return asyncio.run(ask(Stack.find(data).address("nats_url")))
    except NoStackError as error:
        fail(str(error), MISCONFIGURED)
    except (NatsError, OSError, ValidationError) as error:
        fail(f"The generator did not answer ({type(error).__name__}). Asking again is harmless.")


def _table(found: "tuple[ListedModel, ...]") -> Any:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for name in ("Model", "Kind", "State", "Provider", "Its own name for it", "Who does the work", "Key"):
        table.add_column(name, overflow="fold")
    for each in found:
        model = each.model
        worker = model.successor or model.id
        stand_ins = f" (else {', '.join(each.fallbacks)})" if each.fallbacks else ""
        row = (
            model.id,
            model.kind,
            model.state,
            model.provider,
            each.provider_model,
            f"{worker}{stand_ins}" if worker != model.id or stand_ins else "",
            "" if each.has_key else "none",
        )
        table.add_row(*map(escape, row))
    return table
