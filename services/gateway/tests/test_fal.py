"""fal's queue: an application of its own, for which the official package works unmodified."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from nats.aio.client import Client as NatsClient

from contracts.facts import Failure, Lane, Request, Verdict
from contracts.questions import Plan
from darkroom.embedded.ports import free_port
from gateway.settings import Settings

from .client import Client, token
from .conformance import Conformance, Dialect
from .conftest import MakeClient, Service, also_at, serving, with_limits
from .fal import official
from .players import SEEDANCE, SEEDREAM, Players
from .takers import taking

pytestmark = pytest.mark.connected

APP = f"/bytedance/{SEEDREAM}"
INPUT = {"prompt": "A lighthouse in a storm"}


@pytest.fixture(scope="module")
def ports() -> tuple[int, int]:
    """The queue's own, and the one of TLS, which its host names."""
    return free_port(), free_port()


@pytest.fixture(scope="module")
async def settings(settings: Settings, ports: tuple[int, int]) -> Settings:
    hosts = {"fal_host": f"127.0.0.1:{ports[1]}", "fal_run_host": f"localhost:{ports[1]}"}
    doors = settings.doors.model_copy(update={"frontends": f"fal={ports[0]}", **hosts})
    return replace(with_limits(settings, sync_wait_seconds=3), doors=doors)


@pytest.fixture(scope="module")
async def gateway(settings: Settings, bus: NatsClient, players: Players) -> AsyncIterator[Service]:
    """By the address that is everybody's."""
    async with serving(settings, bus) as gateway:
        yield gateway


@pytest.fixture(scope="module")
async def service(gateway: Service, ports: tuple[int, int]) -> AsyncIterator[Service]:
    """The queue, by its own port: everything that the module's clients ask is asked there."""
    async with also_at(gateway.app, ports[0]):
        yield Service(f"http://127.0.0.1:{ports[0]}", gateway.app)


@pytest.fixture
def elsewhere(http: aiohttp.ClientSession, gateway: Service, client: Client) -> Client:
    """The same user at everybody's address."""
    return Client(http, gateway.url, client.user_id, token(client.user_id))


@pytest.fixture
def client_of(http: aiohttp.ClientSession, service: Service, gateway: Service) -> MakeClient:
    class Both(Client):
        async def show(self, generation_id: str) -> Any:
            return await Client(http, gateway.url, self.user_id, token(self.user_id)).show(generation_id)

    def make(user_id: UUID | None = None, bearer: str | None = "") -> Client:
        user_id = user_id or uuid4()
        return Both(http, service.url, user_id, token(user_id) if bearer == "" else bearer)

    return make


class TestFal(Conformance):
    surface = Dialect(
        submit=("POST", APP, INPUT),
        accepted=200,
        held_open=False,
        show=APP + "/requests/{id}/status",
        cancel=APP + "/requests/{id}/cancel",
        cancel_method="PUT",
        states=dict.fromkeys(("completed", "failed", "declined", "cancelled"), "COMPLETED"),
        id_in_answer=lambda answer: str(answer.json["request_id"]),
        message_of=lambda body: [body["detail"]],
    )


# -- the official package -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Of loopback, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = datetime.now(UTC)
    names = [x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName(names),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return chain, secret


@pytest.fixture(scope="module")
async def tls(gateway: Service, ports: tuple[int, int], certificate: tuple[Path, Path]) -> AsyncIterator[int]:
    chain, secret = certificate
    async with also_at(gateway.app, ports[1], ssl_certfile=str(chain), ssl_keyfile=str(secret)):
        yield ports[1]


async def test_the_official_package_subscribes_and_gets_the_result(
    client: Client, elsewhere: Client, players: Players, tls: int, certificate: tuple[Path, Path]
) -> None:
    key = (await elsewhere.post("/v1/api-keys", json={"name": "fal"})).json["key"]
    arguments = INPUT | {"num_images": 2, "image_size": "square_hd", "seed": 7}
    said = await official(key, tls, certificate[0], f"fal-ai/{SEEDREAM}", arguments)
    [request] = await players.published(client.user_id)
    assert (request.model, request.count, request.size, request.options) == (SEEDREAM, 2, "1024x1024", {"seed": 7})
    assert said["last"] == "Completed"
    shown = await elsewhere.show(str(request.generation_id))
    assert [image["url"] for image in said["result"]["images"]] == [asset["url"] for asset in shown["assets"]]
    assert said["result"]["images"][0]["content_type"] == "image/png" and said["result"]["seed"] == 7


async def test_the_official_package_runs_and_gets_the_result_at_once(
    client: Client, elsewhere: Client, players: Players, tls: int, certificate: tuple[Path, Path]
) -> None:
    """`fal_client.run` is what is held open; what fails there says why."""
    key = (await elsewhere.post("/v1/api-keys", json={"name": "fal"})).json["key"]
    told = await official(key, tls, certificate[0], APP[1:], INPUT, how="held open")
    assert "result" in told, told
    [picture] = told["result"]["images"]
    assert picture["url"].endswith("/original.png")

    async def play(request: Request) -> None:
        await players.end(request, Verdict.FAILED, Failure(code="content_policy", message="Not this."))

    players.scripts[client.user_id] = play
    told = await official(key, tls, certificate[0], APP[1:], INPUT, how="held open")
    assert (told["status"], told["why"]) == (400, "Not this.")


@pytest.mark.parametrize(
    ("verdict", "code", "status"),
    [
        (Verdict.CANCELLED, None, 499),
        (Verdict.FAILED, "provider_throttled", 500),
        (Verdict.FAILED, "provider_error", 500),
        (Verdict.FAILED, "deadline", 504),
        (None, None, 504),
    ],
)
async def test_what_was_made_in_vain_is_not_asked_for_again(
    client: Client,
    elsewhere: Client,
    players: Players,
    tls: int,
    certificate: tuple[Path, Path],
    verdict: Verdict | None,
    code: str | None,
    status: int,
) -> None:
    """Both clients ask again after 408, 409, 429, 502, 503 and 504, without a key: each would be another generation."""

    async def play(request: Request) -> None:
        if verdict is None:
            await players.hold(request)
        else:
            await players.end(request, verdict, None if code is None else Failure(code=code, message="In vain."))

    players.scripts[client.user_id] = play
    key = (await elsewhere.post("/v1/api-keys", json={"name": "fal"})).json["key"]
    told = await official(key, tls, certificate[0], APP[1:], INPUT, how="held open")
    assert told["status"] == status
    [made] = {request.generation_id for request in players.of(client.user_id)}
    answer = await client.post(APP, {"Host": f"localhost:{tls}", "Origin": "https://app.example"}, json=INPUT)
    assert answer.status == status
    # In a browser the client for JavaScript reads what is exposed to it, and repeats a 504 that says no more.
    told = {name.lower() for name in answer.headers if name.lower().startswith("x-fal-")}
    assert told and told <= {*answer.headers["Access-Control-Expose-Headers"].lower().split(", ")}
    assert answer.headers.get("X-Fal-Request-Timeout-Type") == ("user" if status == 504 else None)
    assert UUID(answer.headers["X-Fal-Request-Id"]) != made
    late = await client.get(f"{APP}/requests/{made}")
    assert late.status == (400 if verdict is None else status)


async def test_the_official_package_cancels(
    client: Client, elsewhere: Client, players: Players, tls: int, certificate: tuple[Path, Path]
) -> None:
    key = (await elsewhere.post("/v1/api-keys", json={"name": "fal"})).json["key"]
    players.scripts[client.user_id] = players.hold
    said = await official(key, tls, certificate[0], f"fal-ai/{SEEDREAM}", INPUT, how="cancel")
    assert said["status"].startswith("Completed(") and "'cancelled'" in said["status"]
    assert (await elsewhere.show(said["id"]))["status"] == "cancelled"


# -- the wire -----------------------------------------------------------------------------------------------------


async def test_what_is_submitted_goes_through_its_states(client: Client, players: Players, ports: Any) -> None:
    players.scripts[client.user_id] = players.hold
    made = (await client.post(APP, json=INPUT)).json
    address = f"https://127.0.0.1:{ports[1]}{APP}/requests/{made['request_id']}"
    assert made == {
        "request_id": made["request_id"],
        "response_url": address,
        "status_url": f"{address}/status",
        "cancel_url": f"{address}/cancel",
        "status": "IN_QUEUE",
        "queue_position": 0,
    }
    path = f"{APP}/requests/{made['request_id']}"
    early = await client.get(f"{path}/status")
    assert (early.status, early.json["status"], early.json["logs"]) == (202, "IN_QUEUE", None)
    result = await client.get(path)
    assert (result.status, result.json["error_type"]) == (400, "request_in_progress")
    await players.complete(await players.heard(made["request_id"]))
    await client.ended(made["request_id"])
    late = await client.get(f"{path}/status?logs=1")
    assert (late.status, late.json["status"], late.json["error"]) == (200, "COMPLETED", None)
    assert [log["message"] for log in late.json["logs"]] == ["It was accepted.", "It is completed."]
    assert late.json["metrics"]["inference_time"] > 0
    assert [image["width"] for image in (await client.get(path)).json["images"]] == [1024]
    again = await client.request("PUT", f"{path}/cancel")
    assert (again.status, again.json["status"]) == (400, "ALREADY_COMPLETED")


async def test_what_waits_for_its_turn_has_a_position(client: Client, players: Players) -> None:
    players.scripts[client.user_id] = players.hold
    players.plans[client.user_id] = Plan(concurrent=1)
    made = [(await client.post(APP, json=INPUT)).json for _ in range(4)]
    assert [each["queue_position"] for each in made] == [0, 0, 1, 2]
    last = await client.get(f"{APP}/requests/{made[-1]['request_id']}/status")
    assert (last.json["status"], last.json["queue_position"]) == ("IN_QUEUE", 2)


async def test_what_failed_says_why(client: Client, players: Players) -> None:
    async def fail(request: Request) -> None:
        await players.end(request, Verdict.FAILED, Failure(code="content_policy", message="It says no."))

    players.scripts[client.user_id] = fail
    made = (await client.post(APP, json=INPUT)).json
    await client.ended(made["request_id"])
    path = f"{APP}/requests/{made['request_id']}"
    told = (await client.get(f"{path}/status")).json
    assert (told["status"], told["error"], told["error_type"]) == ("COMPLETED", "It says no.", "content_policy")
    result = await client.get(path)
    assert (result.status, result.json["detail"]) == (400, "It says no.")
    assert result.headers["X-Fal-Error-Type"] == "content_policy"


async def test_it_starts_from_a_picture_that_stands_in_the_request(
    client: Client, players: Players, bus: NatsClient
) -> None:
    async with taking(bus) as storage:
        asked = INPUT | {"image_url": "data:image/png;base64,aGVsbG8="}
        for refused in ("no-such-model", f"{SEEDANCE}?fal_webhook=nonsense"):
            assert (await client.post(f"/x/{refused}", json=asked)).status in {404, 422}
        assert not storage.brought
        made = await client.post(f"/x/{SEEDANCE}", json=asked)
        [given] = (await players.heard(made.json["request_id"])).inputs
        assert given.role == "first_frame" and given.asset_id
        assert storage.brought[given.asset_id] == (client.user_id, b"hello")


async def test_low_priority_never_delays_a_person(client: Client, players: Players) -> None:
    made = await client.post(APP, {"X-Fal-Queue-Priority": "low"}, json=INPUT)
    assert (await players.heard(made.json["request_id"])).lane is Lane.BATCH


async def test_one_generation_is_read_in_every_dialect(client: Client, elsewhere: Client) -> None:
    """Made in each of three, and read in the two others."""
    by_fal = (await client.post(f"/x/{SEEDANCE}", json=INPUT | {"duration": 5})).json["request_id"]
    by_replicate = await elsewhere.post(f"/replicate/v1/models/x/{SEEDANCE}/predictions", json={"input": INPUT})
    natively = await elsewhere.accepted(kind="video", model=SEEDANCE)
    for made in (by_fal, by_replicate.json["id"], natively["id"]):
        native = await client.ended(made)
        url = native["assets"][0]["url"]
        prediction = await elsewhere.get(f"/replicate/v1/predictions/{made}")
        assert (prediction.json["status"], prediction.json["output"]) == ("succeeded", url)
        assert (await client.get(f"/x/y/requests/{made}")).json["video"]["url"] == url


async def test_the_queue_is_nowhere_but_at_its_own_door(elsewhere: Client, client: Client, ports: Any) -> None:
    for method, path in (("POST", APP), ("GET", f"{APP}/requests/x/status")):
        answer = await elsewhere.request(method, path, json=INPUT)
        assert answer.status == 404 and "statusCode" in answer.json, answer.text
    by_host = await elsewhere.request("POST", APP, {"Host": f"127.0.0.1:{ports[1]}"}, json=INPUT)
    assert by_host.status == 200, by_host.text
    assert (await client.get("/v1/models")).status in {404, 405}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/x/no-such-app", INPUT, 404),
        (APP, {"prompt": "x", "num_images": "many"}, 422),
        (APP, {"prompt": "x", "image_size": {"width": 512}}, 422),
        (APP, {"prompt": "x", "image_size": "landscape_16_9"}, 422),
        (APP, {"prompt": "x", "image_size": {"width": True, "height": 512}}, 422),
        (APP, {"prompt": "x", "loras": [{"path": "\0"}]}, 422),
        (f"/{'x' * 300}", INPUT, 422),
        (f"{APP}?fal_webhook=https://10.0.0.1/told", INPUT, 422),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_garbage_is_refused_and_changes_nothing(
    client: Client, postgres: asyncpg.Pool, path: str, body: dict[str, Any], status: int
) -> None:
    answer = await client.post(path, json=body)
    assert answer.status == status, answer.text
    assert answer.json["detail"]
    assert await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id) == 0


async def test_a_body_that_is_too_large_is_refused_in_its_words(client: Client) -> None:
    answer = await client.post(APP, json=INPUT | {"image_url": "x" * (1 << 20)})
    assert (answer.status, answer.json["error_type"]) == (413, "body_too_large")
    assert answer.json["detail"]


async def states(client: Client, path: str) -> AsyncIterator[Any]:
    async with client._session.get(client.url + path, headers=client._headers) as answer:
        assert (answer.status, answer.content_type) == (200, "text/event-stream")
        async for line in answer.content:
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))


async def test_the_states_come_as_events_until_the_end(client: Client, players: Players) -> None:
    players.scripts[client.user_id] = players.hold
    made = (await client.post(APP, json=INPUT)).json
    path = f"{APP}/requests/{made['request_id']}/status/stream"
    request = await players.heard(made["request_id"])

    seen: list[Any] = []
    async with asyncio.timeout(30):
        async for state in states(client, path):
            if not seen:
                await players.complete(request)
            seen.append(state)
    assert seen[0]["status"] == "IN_QUEUE" and seen[-1]["status"] == "COMPLETED"
    [late] = [state async for state in states(client, f"{path}?logs=1")]
    assert late["status"] == "COMPLETED" and late["logs"]


async def test_fals_client_for_node_whose_states_end_early_is_given_the_result(
    client: Client, players: Players, gateway: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`subscribe` asks for it where the states end, as they do while a gateway is renewed; 400 is the end to it."""
    node = {"User-Agent": "@fal-ai/client/1.9.5"}
    players.scripts[client.user_id] = players.hold
    path = f"{APP}/requests/{(await client.post(APP, json=INPUT)).json['request_id']}"
    request = await players.heard(path.rpartition("/")[2])
    with monkeypatch.context() as renewed:
        renewed.setattr(gateway.app.state.leaving[0].__self__, "is_closing", True)
        async with asyncio.timeout(30):
            assert [state["status"] async for state in states(client, f"{path}/status/stream")] == ["IN_QUEUE"]
    assert (await client.get(path, node)).status == 503, "it asks again, a few times"
    asking = asyncio.create_task(client.get(path, node))
    await asyncio.sleep(0.5)
    await players.complete(request)
    answer = await asking
    assert (answer.status, len(answer.json["images"])) == (200, 1), answer.text


async def test_nobody_follows_what_is_somebody_elses(client: Client, client_of: MakeClient) -> None:
    made = (await client.post(APP, json=INPUT)).json
    stranger = client_of()
    assert (await stranger.get(f"{APP}/requests/{made['request_id']}/status/stream")).status == 404
