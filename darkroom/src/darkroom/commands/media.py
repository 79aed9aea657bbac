"""`darkroom media`: moving what is stored from one backend to another, and what a user has stored."""

from typing import TYPE_CHECKING, Annotated, TypeVar
from uuid import UUID

import typer

from contracts.model import Frozen
from darkroom.commands.options import DEFAULT_DATA, MISCONFIGURED, Data, fail

if TYPE_CHECKING:
    from pathlib import Path

    from contracts.keeping import Stored
    from storage.moving import Moved
    from storage.settings import StoreSettings

ANSWER_SECONDS = 30.0
MOST_DAYS = 36_500
MOST_BYTES = 2**63 - 1
User = Annotated[UUID, typer.Option("--user", help="Whose.")]
Answer = TypeVar("Answer", bound=Frozen)

app = typer.Typer(help="What is stored, and where.", no_args_is_help=True)


@app.callback()
def media() -> None:
    """What is stored, and where."""


@app.command("move")
def move(data: Data = DEFAULT_DATA) -> None:
    """Copy all media from MEDIA_FORMER_BACKEND to MEDIA_STORAGE_BACKEND, each object proven by its hash.

    Storage has to run with the same two variables meanwhile: it writes to the new backend and reads from both, so no
    address stops working. Stopped and begun again, it goes on. Then MEDIA_FORMER_BACKEND can go, and what is in the
    former backend, too. Exit code 1 where something stayed where it was: an object is damaged, or was not found.
    """
    import asyncio

    from pydantic import ValidationError
    from sqlalchemy.exc import DBAPIError

    from darkroom.stack import NoStackError, Stack
    from storage.settings import StoreSettings

    stack = Stack.find(data)
    environment = stack.storage_environment() or {}
    given = {name: environment[name.upper()] for name in StoreSettings.model_fields if environment.get(name.upper())}
    try:
        settings = StoreSettings.model_validate(given)
        if settings.media_former_backend is None:
            fail("MEDIA_FORMER_BACKEND is not set: there is nothing to move from.", 2)
        if settings.media_former_backend == "local" and not settings.media_root.is_dir():
            fail(f"MEDIA_ROOT is no folder here, so nothing can be moved from it: {settings.media_root}", 2)
        moved = asyncio.run(_move(settings, stack.address("storage_database_url")))
    except (ValidationError, NoStackError) as error:
        fail(str(error), 2)
    except (OSError, DBAPIError) as error:
        fail(f"Not everything is moved, begin again: {type(error).__name__}: {error}", 1)
    megabytes = moved.copied_bytes / 1e6
    typer.echo(
        f"{moved.copied} objects copied ({megabytes:.1f} MB), {moved.there} were there, {moved.damaged} damaged."
    )
    if moved.left:
        some = ", ".join(map(str, moved.named)) + (", …" if moved.left > len(moved.named) else "")
        fail(f"{moved.left} assets are not in {settings.backend}. Keep MEDIA_FORMER_BACKEND and begin again: {some}")
    raise typer.Exit(1 if moved.damaged else 0)


@app.command("usage")
def usage(user: User, data: Data = DEFAULT_DATA) -> None:
    """Show what a user has stored, and what of it their plan allows."""
    from contracts.keeping import (
        Stored,
        StoredBy,
    )
    from contracts.questions import (
        STORAGE_USAGE,
    )

    _say(user, _ask(data, STORAGE_USAGE, StoredBy(user_id=user), Stored))


@app.command("keep")
def keep(
    user: User,
    days: Annotated[
        int | None, typer.Option(min=1, max=MOST_DAYS, help="How long; unset: as the user's plan says.")
    ] = None,
    bytes_: Annotated[
        int | None, typer.Option("--bytes", min=0, max=MOST_BYTES, help="How much; unset: as the plan says.")
    ] = None,
    data: Data = DEFAULT_DATA,
) -> None:
    """Say for one user what is kept, whatever their plan says."""
    from contracts.keeping import (
        Keep,
        Stored,
    )
    from contracts.questions import (
        STORAGE_KEEP,
    )

    _say(user, _ask(data, STORAGE_KEEP, Keep(user_id=user, quota_bytes=bytes_, retention_days=days), Stored))


@app.command("forget")
def forget(
    user: User,
    sure: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
    data: Data = DEFAULT_DATA,
) -> None:
    """Remove all that a user has stored, for good, and the voices that they had made.

    The bytes go with a later round of the collector, the voices as soon as their provider answers.
    """
    from contracts.keeping import (
        ChangedAssets,
        Forget,
    )
    from contracts.questions import (
        GATEWAY_FORGET_VOICES,
        STORAGE_FORGET,
    )
    from contracts.voices import ForgottenVoices

    if not sure:
        typer.confirm(f"Remove everything that {user} has stored?", abort=True)
    question = Forget(user_id=user)
    heard = _ask(data, GATEWAY_FORGET_VOICES, question, ForgottenVoices)
    gone = _ask(data, STORAGE_FORGET, question, ChangedAssets)
    typer.echo(f"{gone.assets:,} assets of {user} are gone; {heard.voices:,} voices are deleted at their provider.")


def _say(user: UUID, found: "Stored") -> None:
    quota = "any amount" if found.quota_bytes is None else f"{found.quota_bytes:,} bytes"
    kept = "for ever" if found.retention_days is None else f"for {found.retention_days} days"
    typer.echo(f"{user} has {found.assets:,} assets of {found.used_bytes:,} bytes; may have {quota}, kept {kept}.")


def _ask(data: "Path", subject: str, question: Frozen, answer: type[Answer]) -> Answer:
    """A service's answer; every question here may be asked again."""
    import asyncio

    from nats.errors import Error as NatsError
    from pydantic import ValidationError

    from darkroom.jetstream import connect
    from darkroom.stack import NoStackError, Stack

    async def ask(nats_url: str) -> Answer:
        client = await connect(nats_url, "media")
        try:
            payload = question.model_dump_json().encode()
            return answer.model_validate_json((await client.request(subject, payload, timeout=ANSWER_SECONDS)).data)
        finally:
            await client.close()

    try:
        return asyncio.run(ask(Stack.find(data).address("nats_url")))
    except NoStackError as error:
        fail(str(error), MISCONFIGURED)
    except (NatsError, OSError, ValidationError) as error:
        fail(f"{subject.partition('.')[0].capitalize()} did not answer ({type(error).__name__}): ask again.")


async def _move(settings: "StoreSettings", database_url: str) -> "Moved":
    from pydantic import SecretStr

    from runtime.database import Database
    from runtime.settings import DatabaseSettings
    from storage.moving import move as move_objects
    from storage.stores import make_store

    assert settings.media_former_backend is not None  # noqa: S101
    current, former = make_store(settings, settings.backend), make_store(settings, settings.media_former_backend)
    database = Database(DatabaseSettings(database_url=SecretStr(database_url)), "media-move")
    try:
        return await move_objects(former, current, database)
    finally:
        await database.close()
        await current.close()
        await former.close()
