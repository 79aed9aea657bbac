"""Who may look at what was made: storage sees to it, and the row says what addresses are given out."""

import json
from uuid import UUID

from faststream.nats import NatsBroker
from sqlalchemy import text

from contracts.facts import Visibility
from contracts.keeping import ChangedAssets, Show
from contracts.questions import STORAGE_SHOW
from gateway import records
from gateway.identity import Caller
from gateway.questions import ask
from gateway.records import COLUMNS, Generation, generation_of
from gateway.refusals import NotConfigured, NotFinished, NotFound
from gateway.settings import AddressSettings
from runtime.database import Database

ANSWER_TIMEOUT_SECONDS = 2.0

_REMEMBER = text(f"""
    UPDATE generations
    SET particulars = nullif(coalesce(particulars, '{{}}') - 'visibility' || CAST(:changed AS jsonb), '{{}}')
    WHERE id = :id AND user_id = :user_id AND deleted_at IS NULL
    RETURNING {COLUMNS}
""")  # noqa: S608 - put together from constants


def check_offered(addresses: AddressSettings, visibility: Visibility) -> None:
    """Raises NotConfigured where nothing could be signed: its owner alone would not see it either."""
    if visibility is Visibility.OWNER and addresses.media_signing_key is None:
        raise NotConfigured("Media for its owner alone is not set up here: the operator has to set MEDIA_SIGNING_KEY.")


async def change(
    database: Database, broker: NatsBroker, caller: Caller, generation_id: UUID, visibility: Visibility
) -> Generation:
    """Says who may look at a final generation's media from now on. Storage first: a yes is true when it is said.

    Raises:
        NotFound: no such generation of this user. NotFinished: what is still made is shown as was asked for.
        Unavailable: ask again; whether it has changed already is not known.
    """
    async with database.statement() as connection:
        generation = await records.get(connection, caller.user_id, generation_id)
    if generation is None:
        raise NotFound("There is no such generation.")
    if not generation.is_final:
        raise NotFinished("The generation is still at work: wait for its end.")
    show = Show(user_id=caller.user_id, generation_id=generation_id, visibility=visibility)
    silence = "Media cannot be changed right now; try again."
    await ask(broker, STORAGE_SHOW, show, ChangedAssets, ANSWER_TIMEOUT_SECONDS, silence)
    changed = {} if visibility is Visibility.PUBLIC else {"visibility": visibility}
    values = {"id": generation_id, "user_id": caller.user_id, "changed": json.dumps(changed)}
    async with database.statement() as connection:
        row = (await connection.execute(_REMEMBER, values)).one_or_none()
    if row is None:
        raise NotFound("There is no such generation.")
    return generation_of(row)
