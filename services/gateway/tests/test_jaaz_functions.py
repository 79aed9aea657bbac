"""The functions of the jaaz frontend: both bodies of each, and the union of their keys."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from nats.aio.client import Client as NatsClient

from contracts.facts import Failure, Kind, Request, Verdict
from contracts.money import Price, PriceList
from contracts.questions import STORAGE_FIND_MEDIA, Catalog, CatalogModel

from .client import Client, token
from .conformance import Conformance, Dialect
from .conftest import PUBLIC_URL, MakeClient
from .jaaz import CLIENT_HEADERS, F, answer_to, answering, call
from .players import CATALOG, PRICES, SEEDREAM, WRITER, Players
from .test_inputs import Storage

pytestmark = pytest.mark.connected
PIPELINE = f"{F}/process-image-pipeline"
EDITOR = "an-editor"
FILM = "darkroom-avatar"
SOUND = "darkroom-sound"


@pytest.fixture(scope="module")
def players(played: tuple[NatsClient, Players]) -> Players:
    """Who offer a model that changes pictures and one that makes films of a picture and a sound, too."""
    players = played[1]
    added = (
        CatalogModel(id=EDITOR, kind=Kind.IMAGE, provider="fal", sizes=("1024x1024",), inputs=("image",)),
        CatalogModel(
            id=FILM,
            kind=Kind.VIDEO,
            provider="darkroom",
            sizes=("1080x1920",),
            default_size="1080x1920",
            seconds=(300,),
            inputs=("image", "audio"),
            needs=("image",),
            follows_speech=True,
        ),
        CatalogModel(id=SOUND, kind=Kind.SPEECH, provider="darkroom", inputs=("video",), needs=("video",)),
    )
    players.catalog = Catalog(version=2, models=(*CATALOG.models, *added))
    prices = {**PRICES.prices, EDITOR: 1_000, FILM: 2_000, SOUND: 1_000}
    table = (*PRICES.table, Price(model=FILM, amount=2_000, per="second"))
    players.prices = PriceList(version=8, prices=prices, table=table)
    return players


@pytest.fixture
async def storage(bus: NatsClient) -> AsyncIterator[Storage]:
    storage = Storage(bus)
    async with answering(bus, {STORAGE_FIND_MEDIA: storage.find}):
        yield storage


class TestPipeline(Conformance):
    surface = Dialect(submit=("POST", PIPELINE, {"prompt": "A fox", "model": SEEDREAM, "settings": {}}), accepted=200)


class TestChat(Conformance):
    surface = Dialect(submit=("POST", f"{F}/chat-with-gpt", {"message": "Hello", "context": "A shop"}), accepted=200)


# -- what is made -------------------------------------------------------------------------------------------------


async def test_a_pipeline_of_the_seeds_form_answers_with_the_image(client: Client, players: Players) -> None:
    settings = {"width": 1024, "height": 1536, "seed": 5, "n": 100}
    made = await call(
        client, "process-image-pipeline", prompt="x", model=SEEDREAM, settings=settings, user_id=str(client.user_id)
    )
    [request] = await players.published(client.user_id)
    assert made["success"] is True
    assert made["image_url"] == f"{PUBLIC_URL}/media/{request.generation_id.hex}0/original.png"
    assert (request.size, request.options, request.count, request.prepaid) == ("1024x1536", {"seed": 5}, 1, True)


@pytest.mark.parametrize("named", [{"modelId": EDITOR}, {}])
async def test_a_pipeline_of_the_clients_form_is_submitted_and_asked_for(
    client: Client, players: Players, storage: Storage, named: dict[str, str]
) -> None:
    """By the first model that takes a picture where none is named."""
    source = storage.has(client, f"{uuid4().hex}/original.png")
    [key] = storage.media[client.user_id]
    players.scripts[client.user_id] = players.hold
    submitted = await call(
        client,
        "process-image-pipeline",
        **named,
        sourceImageUrl=f"{PUBLIC_URL}/media/{key}",
        prompt="bluer",
    )
    request = await players.heard(submitted["requestId"])
    assert [(given.role, given.asset_id) for given in request.inputs] == [("image", source)]
    assert request.model == EDITOR
    assert submitted["statusUrl"].startswith(f"{PUBLIC_URL}{PIPELINE}/requests/")
    status = {"action": "status", "statusUrl": submitted["statusUrl"]}
    assert (await call(client, "process-image-pipeline", **status))["status"] in {"IN_QUEUE", "IN_PROGRESS"}
    await players.complete(request)
    await client.ended(submitted["requestId"])
    assert (await call(client, "process-image-pipeline", **status))["status"] == "COMPLETED"
    result = await call(client, "process-image-pipeline", action="result", responseUrl=submitted["responseUrl"])
    assert result["images"][0]["url"] == f"{PUBLIC_URL}/media/{request.generation_id.hex}0/original.png"


async def test_a_submitted_image_that_failed_says_so(client: Client, players: Players, storage: Storage) -> None:
    async def fail(request: Request) -> None:
        await players.end(request, Verdict.FAILED, Failure(code="content_policy", message="Not this."))

    players.scripts[client.user_id] = fail
    submitted = await call(client, "process-image-pipeline", modelId=SEEDREAM, prompt="x")
    await client.ended(submitted["requestId"])
    told = await call(client, "process-image-pipeline", action="status", statusUrl=submitted["statusUrl"])
    assert (told["status"], told["error"]) == ("ERROR", "Not this.")
    body = {"action": "result", "responseUrl": submitted["responseUrl"]}
    answer = await client.post(PIPELINE, json=body)
    assert (answer.status, answer.json["error"]) == (400, "Not this.")


@pytest.mark.parametrize(
    "address",
    [
        None,
        "",
        "https://queue.fal.run/x/requests/1/status",
        "http://169.254.169.254/latest",
        f"https://evil.example/requests/{UUID(int=1)}/status",
        "requests",
        "x" * 4000,
    ],
)
async def test_an_address_that_is_sent_back_is_read_for_its_id_and_never_asked(client: Client, address: Any) -> None:
    answer = await client.post(PIPELINE, json={"action": "status", "statusUrl": address})
    assert (answer.status, answer.json["success"]) == (404, False), answer.text


async def test_somebody_elses_request_is_not_there(client_of: MakeClient) -> None:
    one, other = client_of(), client_of()
    submitted = await call(one, "process-image-pipeline", modelId=SEEDREAM, prompt="x")
    body = {"action": "status", "statusUrl": submitted["statusUrl"]}
    assert (await other.post(PIPELINE, json=body)).status == 404


async def test_a_text_is_no_image(client: Client) -> None:
    made = await client.accepted(kind="text", prompt="x")
    await client.ended(made["id"])
    answer = await client.post(PIPELINE, json={"action": "result", "responseUrl": f"/requests/{made['id']}"})
    assert (answer.status, answer.json["success"]) == (404, False), answer.text


@pytest.mark.parametrize(
    ("body", "prompt"),
    [
        ({"prompt": "a fire fox", "count": 2}, "a fire fox"),
        (
            {"pokemonType": "Fire", "customPrompt": "a fox", "modelId": SEEDREAM, "count": 2},
            "a fox. A new Pokémon of Fire",
        ),
    ],
)
async def test_pokemon_are_drawn(client: Client, players: Players, body: dict[str, Any], prompt: str) -> None:
    made = await call(client, "generate-pokemon-images", **body)
    [request] = await players.published(client.user_id)
    assert request.prompt.startswith(prompt)
    assert (
        made["images"]
        == made["imageUrls"]
        == [f"{PUBLIC_URL}/media/{request.generation_id.hex}{index}/original.png" for index in range(2)]
    )
    assert (made["imageUrl"], made["success"]) == (made["images"][0], True)


async def test_a_video_is_made_of_a_picture_and_a_sound(client: Client, players: Players, storage: Storage) -> None:
    picture, sound = f"{uuid4().hex}/original.png", f"{uuid4().hex}/original.mp3"
    storage.has(client, picture)
    storage.has(client, sound, "audio/mpeg", seconds=12.2)
    body = {"image_url": f"{PUBLIC_URL}/media/{picture}", "audio_url": f"{PUBLIC_URL}/media/{sound}"}
    made = await call(client, "process-elevenlabs-video", **body)
    [request] = await players.published(client.user_id)
    assert (request.model, request.quote.amount) == (FILM, 26_000)
    assert sorted(given.role for given in request.inputs) == ["audio", "image"]
    assert made["video_url"] == f"{PUBLIC_URL}/media/{request.generation_id.hex}0/original.mp4"


async def test_the_sound_of_a_video_is_taken_out_of_it(client: Client, players: Players, storage: Storage) -> None:
    """Of one's own, or of one elsewhere, which the generator reads; each for the same price."""
    film = f"{uuid4().hex}/original.mp4"
    storage.has(client, film, "video/mp4", seconds=12.2)
    for url in (f"{PUBLIC_URL}/media/{film}", "https://a.example/a.mp4"):
        made = await call(client, "process-elevenlabs-video", videoUrl=url)
        request = players.of(client.user_id)[-1]
        [given] = request.inputs
        assert (request.model, request.kind, request.quote.amount) == (SOUND, Kind.SPEECH, 1_000)
        assert (given.role, given.asset_id is None) == ("video", url.startswith("https://a."))
        assert made["audioUrl"] == made["audio_url"] == f"{PUBLIC_URL}/media/{request.generation_id.hex}0/original.mp3"
        assert made["success"] is True


async def test_a_video_without_a_sound_is_refused_and_says_so(client: Client, players: Players) -> None:
    why = "The sound cannot be made: there is nothing to hear in it."

    async def nothing_to_hear(request: Request) -> None:
        await players.fund(request)
        await players.end(request, Verdict.FAILED, Failure(code="invalid_request", message=why))

    players.scripts[client.user_id] = nothing_to_hear
    answer = await client.post(f"{F}/process-elevenlabs-video", json={"videoUrl": "https://a.example/silent.mp4"})
    assert (answer.status, answer.json["success"], answer.json["error"]) == (400, False, why)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"videoUrl": "http://169.254.169.254/x.mp4"},
        {"videoUrl": "file:///etc/passwd"},
        {"videoUrl": f"{PUBLIC_URL}/media/{'0' * 32}/original.mp4"},
        {"image_url": "https://a.example/x.png"},
        {"image_url": "http://127.0.0.1:1/x.png", "audio_url": "http://169.254.169.254/x.mp3", "seconds": 5},
        {"image_url": "file:///etc/passwd", "audio_url": "https://a.example/x.mp3", "seconds": 5},
        {
            "image_url": f"{PUBLIC_URL}/media/{'0' * 32}/original.png",
            "audio_url": "https://a.example/x.mp3",
            "seconds": 5,
        },
    ],
)
async def test_what_no_video_can_be_made_of_is_refused(
    client: Client, storage: Storage, postgres: asyncpg.Pool, body: dict[str, Any]
) -> None:
    answer = await client.post(f"{F}/process-elevenlabs-video", json=body)
    assert answer.status in {404, 422}, answer.text
    assert answer.json["success"] is False
    assert await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id) == 0


@pytest.mark.parametrize(
    ("body", "before"),
    [
        ({"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "foxes"}]}, "Be brief."),
        ({"message": "foxes", "context": "Be brief.", "model": WRITER}, "Be brief."),
        ({"message": "foxes", "context": {"page": "shop"}}, '{"page": "shop"}'),
    ],
)
async def test_a_language_model_is_asked(client: Client, players: Players, body: dict[str, Any], before: str) -> None:
    answer = await call(client, "chat-with-gpt", **body)
    assert answer["response"] == answer["reply"] == answer_to("foxes")
    assert answer["usage"] == {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16}
    [request] = await players.published(client.user_id)
    assert [(said.role, said.content) for said in request.messages] == [("system", before)]


# -- what surrounds them ------------------------------------------------------------------------------------------


FUNCTIONS = (
    "consume-credits",
    "create-payment-intent",
    "process-payment-success",
    "process-image-pipeline",
    "generate-pokemon-images",
    "process-elevenlabs-video",
    "chat-with-gpt",
)


@pytest.mark.parametrize("function", FUNCTIONS)
async def test_a_browser_asks_first_and_nobody_gets_nothing(nobody: Client, function: str) -> None:
    asked = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "apikey,authorization,content-type,x-client-info",
    }
    answer = await nobody.request("OPTIONS", f"{F}/{function}", asked)
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")
    refused = await nobody.post(f"{F}/{function}", CLIENT_HEADERS, json={"prompt": "x", "message": "x", "amount": 1})
    assert (refused.status, refused.json["success"]) == (401, False)


@pytest.mark.parametrize("function", ["consume-credits", "process-payment-success", "process-image-pipeline"])
async def test_a_body_names_no_other_user(client: Client, client_of: MakeClient, function: str) -> None:
    body = {"user_id": str(uuid4()), "amount": 1, "payment_intent_id": "pi_1", "prompt": "x"}
    assert (await client.post(f"{F}/{function}", json=body)).status == 404
    service = client_of(bearer=token(None, role="service_role", aud=None))
    assert (await service.post(f"{F}/consume-credits", json=body)).status == 200


async def test_an_unknown_function_is_said_in_their_shape(nobody: Client) -> None:
    answer = await nobody.post(f"{F}/nope", json={})
    assert (answer.status, answer.json["success"]) == (404, False)
