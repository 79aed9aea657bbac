"""Films that the generator is asked about before they are kept: what it sees of them, and what its answer means."""

import base64
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.errors import NoRespondersError
from PIL import Image

from contracts.facts import Failure, Kind, Rendered
from contracts.judging import MAX_FRAME_BYTES, JudgedFrames, JudgeFrames
from contracts.questions import GENERATOR_JUDGE_FRAMES
from runtime.database import Database
from storage.frames import frames
from storage.ingest import Ingest
from storage.objects.local import LocalObjects
from storage.pictures import Unusable

from .recorded import sound, video
from .samples import Provider, names, rendered, rows

pytestmark = pytest.mark.connected
FORBIDDEN = Failure(code="content_policy", message="This film is not allowed here.", stage="film")


@pytest.fixture
async def judge(bus: Client) -> AsyncIterator[dict[str, Any]]:
    """The generator: refuses each film whose number of questions so far is in `refuses`; `asked` are the questions."""
    state: dict[str, Any] = {"asked": [], "refuses": set()}

    async def answer(message: Any) -> None:
        refused = len(state["asked"]) in state["refuses"]
        state["asked"].append(JudgeFrames.model_validate_json(message.data))
        await message.respond(JudgedFrames(failure=FORBIDDEN if refused else None).model_dump_json().encode())

    subscription = await bus.subscribe(GENERATOR_JUDGE_FRAMES, cb=answer)
    for _ in range(2):  # the first ping overtakes what nats-py has not written yet
        await bus.flush()
    yield state
    await subscription.unsubscribe()


def film_of(*urls: str, judged: bool = True) -> Rendered:
    fact = rendered(*urls, kind=Kind.VIDEO)
    return fact.model_copy(update={"data": fact.data.model_copy(update={"judge_frames": judged})})


async def test_a_film_that_may_be_shown_is_kept(ingest: Ingest, provider: Provider, judge: dict[str, Any]) -> None:
    outcome = await ingest.store(film_of(provider.url("film", video(seconds=2))))
    assert outcome.data.verdict == "completed"
    [question] = judge["asked"]
    seen = [Image.open(io.BytesIO(base64.b64decode(frame))) for frame in question.frames]
    assert [image.size for image in seen] == [(320, 180)] * 3
    blues = [image.convert("RGB").getpixel((300, 90))[2] for image in seen]
    assert blues == [pytest.approx(number * 5 % 256, abs=20) for number in (12, 24, 43)]


async def test_a_refused_film_is_missing_and_nothing_of_it_is_kept(
    ingest: Ingest, provider: Provider, judge: dict[str, Any], database: Database, objects: LocalObjects
) -> None:
    judge["refuses"] = {0}
    fact = film_of(provider.url("film", video()))
    outcome = await ingest.store(fact)
    assert (outcome.data.verdict, outcome.data.failure) == ("failed", FORBIDDEN)
    about = {"id": fact.data.request.generation_id}
    assert await rows(database, "SELECT 1 FROM assets WHERE generation_id = :id", **about) == []
    assert not any(str(fact.data.request.user_id) in name for name in await names(objects))


async def test_of_two_films_the_refused_one_is_missing(
    ingest: Ingest, provider: Provider, judge: dict[str, Any]
) -> None:
    judge["refuses"] = {1}
    content = video()
    outcome = await ingest.store(film_of(provider.url("one", content), provider.url("other", content)))
    assert outcome.data.verdict == "completed" and len(outcome.data.assets) == 1


async def test_without_the_wish_nobody_is_asked(ingest: Ingest, provider: Provider, judge: dict[str, Any]) -> None:
    await ingest.store(film_of(provider.url("film", video()), judged=False))
    assert judge["asked"] == []


async def test_a_generator_that_is_away_is_waited_for(ingest: Ingest, provider: Provider) -> None:
    """Nothing is kept and nothing is said: the fact is handled again."""
    with pytest.raises(NoRespondersError):
        await ingest.store(film_of(provider.url("film", video())))


# -- what is seen -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", ["mp4", "webm"])
@pytest.mark.parametrize("seconds", [0.2, 3.0])
def test_frames_of_every_length(tmp_path: Path, container: str, seconds: float) -> None:
    path = tmp_path / "film"
    path.write_bytes(video(seconds=seconds, container=container, width=640, height=360))
    found = frames(str(path))
    assert len(found) == (3 if seconds > 1 else 1)
    for frame in found:
        assert Image.open(io.BytesIO(frame)).size == (512, 288) and len(frame) <= MAX_FRAME_BYTES


def test_a_sound_has_no_frames(tmp_path: Path) -> None:
    path = tmp_path / "sound"
    path.write_bytes(sound())
    with pytest.raises(Unusable):
        frames(str(path))
