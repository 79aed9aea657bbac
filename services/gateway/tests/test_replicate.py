"""Replicate's predictions: the official package works unmodified, and so does whoever reads the wire itself."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import pytest
from nats.aio.client import Client as NatsClient
from replicate.client import Client as Replicate
from replicate.exceptions import ModelError, ReplicateError
from replicate.pagination import async_paginate

from contracts.facts import CutBy, Failure, Outcome, Request, Verdict
from gateway.settings import Settings

from .client import Client, token
from .conformance import Conformance, Dialect
from .conftest import Service, serving, with_limits
from .outcomes import outcome_of
from .players import SEEDANCE, SEEDREAM, WRITER, Players

pytestmark = pytest.mark.connected

PREDICTIONS = "/replicate/v1/predictions"
OF_MODEL = f"/replicate/v1/models/bytedance/{SEEDREAM}/predictions"
INPUT = {"prompt": "A lighthouse in a storm"}


@pytest.fixture(scope="module")
def port() -> int:
    """A free one, since addresses in answers are built from what the operator says."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        found: int = probe.getsockname()[1]
        return found


@pytest.fixture(scope="module")
async def settings(settings: Settings, port: int) -> Settings:
    settings = with_limits(settings, sync_wait_seconds=3)
    addresses = settings.addresses.model_copy(update={"public_url": f"http://127.0.0.1:{port}"})
    return replace(settings, addresses=addresses)


@pytest.fixture(scope="module")
async def service(settings: Settings, bus: NatsClient, players: Players, port: int) -> AsyncIterator[Service]:
    async with serving(settings, bus, port=port) as gateway:
        yield gateway


@pytest.fixture
def official(client: Client) -> Replicate:
    """The official client, told nothing but a token and where we are."""
    return Replicate(api_token=token(client.user_id), base_url=f"{client.url}/replicate")


class TestReplicate(Conformance):
    surface = Dialect(
        submit=("POST", OF_MODEL, {"input": INPUT}),
        accepted=201,
        held_open=False,
        show=PREDICTIONS + "/{id}",
        cancel=PREDICTIONS + "/{id}/cancel",
        states={"completed": "succeeded", "failed": "failed", "declined": "failed", "cancelled": "canceled"},
        id_in_answer=lambda answer: str(answer.json["id"]),
        message_of=lambda body: [body["title"], body["detail"]],
    )


# -- the official package -----------------------------------------------------------------------------------------


async def test_run_gives_the_files(official: Replicate, client: Client, players: Players) -> None:
    asked = INPUT | {"num_outputs": 2, "aspect_ratio": "3:2", "seed": 7}
    found = await official.async_run(f"bytedance/{SEEDREAM}", input=asked)
    [request] = await players.published(client.user_id)
    keys = [f"{request.generation_id.hex}{index}/original.png" for index in range(2)]
    assert found == [f"{client.url}/media/{key}" for key in keys]
    assert (request.prompt, request.model, request.count) == (INPUT["prompt"], SEEDREAM, 2)
    assert (request.size, request.options) == ("1536x1024", {"seed": 7})


async def test_a_video_is_one_address_and_a_text_is_itself(official: Replicate) -> None:
    film = await official.async_run(
        f"x/{SEEDANCE}", input=INPUT | {"duration": "5s", "aspect_ratio": "9:16"}, use_file_output=False
    )
    assert str(film).startswith("http") and str(film).endswith("/original.mp4")
    said = await official.async_run(
        f"x/{WRITER}:{WRITER}", input=INPUT | {"max_tokens": 50, "system_prompt": "Be brief"}
    )
    assert said == f"About {INPUT['prompt']}: it is well said."


async def test_a_system_prompt_that_says_nothing_is_left_out(client: Client, players: Players) -> None:
    """Clients send the field empty, and providers refuse a message that says nothing."""
    made = await client.post(PREDICTIONS, json={"version": WRITER, "input": INPUT | {"system_prompt": " "}})
    assert (await players.heard(made.json["id"])).messages == ()


async def test_what_takes_longer_than_it_may_is_cancelled(client: Client, players: Players) -> None:
    async def play(request: Request) -> None:
        left = (request.deadline_at - datetime.now(UTC)).total_seconds()
        assert 30 < left <= 90
        await players.end(request, Verdict.FAILED, Failure(code="deadline", message="It did not finish in time."))

    players.scripts[client.user_id] = play
    made = await client.post(OF_MODEL, {"Cancel-After": "1m30s", "Prefer": "wait"}, json={"input": INPUT})
    assert (made.status, made.json["status"]) == (201, "canceled"), made.text


@pytest.mark.parametrize(
    ("by", "after", "status"),
    [("cancel", "", "canceled"), ("deadline", "", "succeeded"), ("deadline", "9", "canceled")],
)
async def test_a_text_that_was_cut_off_has_what_was_written(
    client: Client, players: Players, by: CutBy, after: str, status: str
) -> None:
    async def cut(request: Request) -> None:
        ending = outcome_of(request, Verdict.COMPLETED).data.model_copy(update={"text": "Once upon", "cut_by": by})
        await players.say(Outcome.of(ending, "generator", None))

    players.scripts[client.user_id] = cut
    headers = {"Prefer": "wait"} | ({"Cancel-After": after} if after else {})
    made = await client.post(f"/replicate/v1/models/darkroom/{WRITER}/predictions", headers, json={"input": INPUT})
    assert (made.status, made.json["status"], made.json["output"]) == (201, status, "Once upon"), made.text


@pytest.mark.parametrize("after", ["4", "soon", "", "-5", "1x", "3s3h"])
async def test_a_time_that_is_none_is_refused_and_changes_nothing(client: Client, players: Players, after: str) -> None:
    answer = await client.post(OF_MODEL, {"Cancel-After": after}, json={"input": INPUT})
    assert (answer.status, players.of(client.user_id)) == (422, []), answer.text


async def test_a_prediction_is_made_followed_and_listed(official: Replicate, client: Client, players: Players) -> None:
    players.scripts[client.user_id] = players.hold
    made = await official.predictions.async_create(version=SEEDREAM, input=INPUT)
    assert (made.status, made.model, made.version, made.input) == ("starting", f"darkroom/{SEEDREAM}", SEEDREAM, INPUT)
    assert made.urls == {
        "get": f"{client.url}{PREDICTIONS}/{made.id}",
        "cancel": f"{client.url}{PREDICTIONS}/{made.id}/cancel",
    }
    request = await players.heard(made.id)
    await players.fund(request)
    await players.complete(request)
    await made.async_wait()
    assert made.status == "succeeded" and made.output and made.metrics
    assert len(made.output) == 1 and made.metrics["predict_time"] > 0
    page = await official.predictions.async_list()
    assert [each.id for each in page] == [made.id]


async def test_the_list_goes_on_where_it_says(
    official: Replicate, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.dialects.replicate.router.PAGE", 2)
    made = [(await client.accepted())["id"] for _ in range(5)]
    pages = [page async for page in async_paginate(official.predictions.async_list)]
    assert [len(page.results) for page in pages] == [2, 2, 1]
    assert [each.id for page in pages for each in page] == made[::-1]


async def test_a_cancel_is_said_with_one_l(official: Replicate, client: Client, players: Players) -> None:
    players.scripts[client.user_id] = players.hold
    made = await official.predictions.async_create(version=f"x/{SEEDREAM}", input=INPUT)
    await players.heard(made.id)
    await made.async_cancel()
    assert made.status == "canceled" and made.error is None
    await client.ended(made.id)
    again = await client.post(f"{PREDICTIONS}/{made.id}/cancel")
    assert (again.status, again.json["status"]) == (200, "canceled")
    del players.scripts[client.user_id]
    done = await client.ended((await client.accepted())["id"])
    late = await client.post(f"{PREDICTIONS}/{done['id']}/cancel")
    assert (late.status, late.json["status"]) == (200, "succeeded")


async def test_what_failed_is_the_models_error(official: Replicate, client: Client, players: Players) -> None:
    async def fail(request: Request) -> None:
        await players.end(request, Verdict.FAILED, Failure(code="content_policy", message="It says no."))

    players.scripts[client.user_id] = fail
    with pytest.raises(ModelError, match=r"It says no\."):
        await official.async_run(f"x/{SEEDREAM}", input=INPUT)


async def test_waiting_in_vain_goes_on_by_asking(official: Replicate, client: Client, players: Players) -> None:
    """The client takes every word but `starting` for the end of a held-open answer, and would give nothing."""
    official.poll_interval = 0.05

    async def late(request: Request) -> None:
        await players.fund(request)
        await asyncio.sleep(1.5)
        await players.complete(request)

    players.scripts[client.user_id] = late
    found = await official.async_run(f"x/{SEEDREAM}", input=INPUT, wait=1)
    assert isinstance(found, list) and found[0].endswith("/original.png")


async def test_models_are_the_catalogs(official: Replicate) -> None:
    model = await official.models.async_get(f"anybody/{SEEDREAM}")
    assert (model.owner, model.name, model.visibility) == ("darkroom", SEEDREAM, "public")
    assert model.latest_version
    fields = model.latest_version.openapi_schema["components"]["schemas"]["Input"]["properties"]
    assert fields["num_outputs"]["maximum"] == 4 and "512x512" in fields["size"]["enum"]
    listed = await official.models.async_list()
    assert SEEDANCE in [each.name for each in listed]
    with pytest.raises(ReplicateError) as refused:
        await official.models.async_get("x/no-such-model")
    assert (refused.value.status, refused.value.title) == (404, "There is no such thing")
    [version] = (await httpx_json(official, f"/v1/models/x/{SEEDREAM}/versions"))["results"]
    assert version["id"] == SEEDREAM


async def httpx_json(official: Replicate, path: str) -> Any:
    answer: httpx.Response = await official._async_request("GET", path)
    return answer.json()


# -- the wire -----------------------------------------------------------------------------------------------------


async def test_prefer_wait_holds_the_answer_until_it_has_ended(client: Client, players: Players) -> None:
    answer = await client.post(OF_MODEL, {"Prefer": "wait=2"}, json={"input": INPUT})
    assert (answer.status, answer.json["status"]) == (201, "succeeded"), answer.text
    players.scripts[client.user_id] = players.hold
    answer = await client.post(OF_MODEL, {"Prefer": "wait=0"}, json={"input": INPUT})
    assert (answer.status, answer.json["status"]) == (201, "starting")
    asked_at = time.monotonic()
    await client.post(OF_MODEL, {"Prefer": 'wait="1";x'}, json={"input": INPUT})
    assert 1 <= time.monotonic() - asked_at < 30


async def test_what_was_made_elsewhere_is_a_prediction_and_the_other_way_round(client: Client) -> None:
    made = await client.ended((await client.accepted(count=2, size="512x512"))["id"])
    seen = (await client.get(f"{PREDICTIONS}/{made['id']}")).json
    assert seen["output"] == [asset["url"] for asset in made["assets"]]
    assert seen["input"] == {"prompt": made["prompt"], "num_outputs": 2, "size": "512x512"}
    here = (await client.post(OF_MODEL, json={"input": INPUT})).json
    there = await client.ended(here["id"])
    assert (there["status"], there["prompt"], there["model"]) == ("completed", INPUT["prompt"], SEEDREAM)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"prompt": 1},
        {"prompt": ""},
        {"prompt": "x", "num_outputs": 0},
        {"prompt": "x", "num_outputs": 1.5},
        {"prompt": "x", "num_outputs": True},
        {"prompt": "x", "num_outputs": 9},
        {"prompt": "x", "aspect_ratio": "21:9"},
        {"prompt": "x", "aspect_ratio": 5},
        {"prompt": "x", "size": "333x333"},
        {"prompt": "x", "width": 512},
        {"prompt": "x", "image": "https://provider.example/x.png"},
        {"prompt": "x", "image": {"a": 1}},
        {"prompt": "x", "image": "file:///etc/passwd"},
        {"prompt": "x", "seed": {"a": "\0"}},
        {"prompt": "x", "image_size": {"width": 512, "height": 512, "\0": 1}},
        {"prompt": "x", "size": ["1024x1024"]},
    ],
    ids=str,
)
async def test_an_input_that_cannot_be_is_refused_and_changes_nothing(
    client: Client, postgres: asyncpg.Pool, wrong: dict[str, Any]
) -> None:
    answer = await client.post(OF_MODEL, json={"input": wrong})
    assert answer.status == 422, answer.text
    assert set(answer.json) == {"title", "detail", "status"}
    found = await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id)
    assert found == 0


async def test_a_model_that_is_not_there_is_404(client: Client) -> None:
    for path, body in (
        ("/replicate/v1/models/x/no-such/predictions", {"input": INPUT}),
        (PREDICTIONS, {"version": "no-such", "input": INPUT}),
        (PREDICTIONS, {"input": INPUT}),
    ):
        answer = await client.post(path, json=body)
        assert answer.status == 404, answer.text


async def test_it_starts_from_an_image_under_any_of_its_names(client: Client, players: Players) -> None:
    body = {"input": INPUT | {"start_image": "https://pictures.example/x.png"}}
    made = await client.post(f"/replicate/v1/models/x/{SEEDANCE}/predictions", json=body)
    assert made.status == 201, made.text
    request = await players.heard(made.json["id"])
    assert [(given.role, given.url) for given in request.inputs] == [("first_frame", "https://pictures.example/x.png")]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/files"),
        ("QUERY", "/models"),
        ("GET", "/files/x"),
        ("DELETE", "/files/x"),
        ("GET", "/deployments"),
        ("POST", "/deployments/x/y/predictions"),
        ("POST", "/models/x/y/versions/z/trainings"),
        ("GET", "/trainings"),
        ("GET", "/collections"),
        ("GET", "/hardware"),
        ("GET", "/account"),
    ],
)
async def test_what_is_not_offered_is_refused_in_its_words(client: Client, method: str, path: str) -> None:
    answer = await client.request(method, f"/replicate/v1{path}", json={})
    status = 405 if path in {"/files", "/models"} else 404
    assert (answer.status, answer.json["status"]) == (status, status), answer.text
    assert answer.json["title"] and answer.json["detail"]
