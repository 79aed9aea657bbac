"""The whole service as processes: consumption, questions, health, kill -9 and SIGTERM."""

import asyncio
import contextlib
import json
import os
import sys
import time
import urllib.error
import urllib.request

import pytest
from nats.errors import TimeoutError as NatsTimeout
from sqlalchemy.engine import make_url

from contracts.facts import CONTENT_TYPE, Funded, Kind, Lane, Outcome
from contracts.questions import (
    GENERATOR_CATALOG,
    GENERATOR_FINISH_TEXT,
    Catalog,
    FinishedText,
    FinishText,
    Nothing,
)
from contracts.topology import funded_subject, outcome_subject, progress_subject
from darkroom.embedded import Process, free_port
from generator.leases import CATALOG_EVERY_SECONDS
from runtime.broker import publish, publish_unique

from .stage import DEAR, FILM, PAIR, ask, ask_film, ended, until

pytestmark = pytest.mark.connected


class Service:
    def __init__(self, process, port):
        self.process = process
        self.port = port
        process.start()

    def get(self, path):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=2) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()
        except OSError:
            return 0, b""

    async def ready(self):
        await until(lambda: self.get("/ready")[0] == 200, 30)


@pytest.fixture(scope="module")
async def services(database_url, streams, simulator_url, tmp_path_factory):
    """Two processes of the service; the tests below end them one after the other."""
    settings = {
        "NATS_URL": streams,
        "GENERATOR_DATABASE_URL": database_url,
        "GENERATOR_LEASE_SECONDS": "1.5",
        "ARK_API_KEY": "sk-ark-secret-canary",
        "ARK_BASE_URL": f"{simulator_url}/ark/api/v3",
        "OPENAI_API_KEY": "sk-openai-secret-canary",
        "OPENAI_BASE_URL": f"{simulator_url}/openai/v1",
        "OUTBOUND_ALLOW": simulator_url.removeprefix("http://"),
    }
    services = []
    ports = [free_port(), free_port()]
    for port, other in zip(ports, reversed(ports), strict=True):
        # Providers call the process that does not follow the task.
        address = {"GENERATOR_PORT": str(port), "PUBLIC_CALLBACK_URL": f"http://127.0.0.1:{other}"}
        environment = os.environ | settings | address
        log_path = tmp_path_factory.mktemp("service") / "generator.log"
        # It dies with the tests, also where they are killed.
        process = Process("generator", [sys.executable, "-m", "generator"], log_path=log_path, env=environment)
        services.append(Service(process, port))
    await asyncio.gather(*(service.ready() for service in services))
    yield services
    for service in services:
        service.process.kill()


async def fund(process, request):
    fact = Funded.of(request, "ledger", PAIR)
    await publish(
        process.broker, funded_subject(request), fact.encode(), stream="GENERATION", content_type=CONTENT_TYPE
    )


async def test_a_generation_through_the_service_and_its_end(process, simulator, services):
    """Both lanes, duplicates, a refusal, bytes; the question; an outcome closes."""
    for service in services:
        assert service.get("/live")[0] == 200 and b"facts_handled_total" in service.get("/metrics")[1]
    requests = [ask(), ask(lane=Lane.BATCH), ask(model=DEAR, count=2), ask("[[sim:401]]")]
    for request in requests * 2:
        await fund(process, request)
    for request in requests[:3]:
        await until(lambda request=request: process.rendered(request))
    assert (await until(lambda: process.outcome(requests[3]))).data.failure.code == "provider_unauthorized"
    assert [len(simulator.calls(request)) for request in requests] == [1, 1, 1, 1]

    question = Nothing().model_dump_json().encode()
    answer = await process.broker.connection.request(GENERATOR_CATALOG, question, timeout=2)
    catalog = Catalog.model_validate_json(answer.data)
    assert catalog.models[0].id == "seedream-3-0-t2i-250415" and {model.kind for model in catalog.models} == set(Kind)

    await say(process, ended(requests[0]))
    await until(lambda: closed(process, requests[0]))


async def test_a_text_is_finished_by_whoever_writes_it(process, services):
    """Every process is asked, and one answers, once the outcome is in the log; where nobody writes it there is
    silence."""
    request = ask("[[sim:stream-endless]]", kind=Kind.TEXT, model="gpt-5.4-mini", max_tokens=200)
    question = FinishText(generation_id=request.generation_id).model_dump_json().encode()
    with pytest.raises(NatsTimeout):
        await process.broker.connection.request(GENERATOR_FINISH_TEXT, question, timeout=0.5)
    said = await process.broker.connection.subscribe(progress_subject(request.generation_id))
    await fund(process, request)
    await said.next_msg(timeout=10)
    await said.unsubscribe()
    answer = await process.broker.connection.request(GENERATOR_FINISH_TEXT, question, timeout=2)
    assert FinishedText.model_validate_json(answer.data).is_finished
    ending = (await process.outcome(request)).data
    assert (ending.verdict, ending.cut_by) == ("completed", "cancel") and ending.text


async def test_a_provider_that_calls_is_looked_at_at_once(process, simulator, services):
    """Without the callback the first look would come after five seconds; the call reaches the other process."""
    await process.rows("UPDATE models SET p99_seconds = 3000 WHERE id = :id RETURNING 1", id=FILM)
    for service in services:
        await until(lambda service=service: b'"ready": true' in service.get("/ready")[1])
    await asyncio.sleep(CATALOG_EVERY_SECONDS + 0.5)
    requests = [ask_film("[[sim:latency=1]]"), ask_film("[[sim:latency=1,callback-twice]]")]
    began_at = time.monotonic()
    for request in requests:
        await fund(process, request)
    for request in requests:
        await until(lambda request=request: process.rendered(request))
    assert time.monotonic() - began_at < 4.5
    assert all(len(simulator.calls(request)) == 1 for request in requests)


async def test_f22_a_forged_callback_is_not_found(services):
    for path in ("/callbacks/", f"/callbacks/{'0' * 64}", "/callbacks/../live", f"/callbacks/{'z' * 64}"):
        refused = urllib.request.Request(f"http://127.0.0.1:{services[0].port}{path}", method="POST", data=b"{}")
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(refused, timeout=2)
        assert error.value.code == 404


async def test_kill_9_in_the_middle_of_many(process, simulator, services):
    """What the killed process had begun is taken over without any message; P11 holds for each."""
    requests = [ask("[[sim:latencyx1=1.5]]") for _ in range(10)]
    for request in requests:
        await fund(process, request)
    for request in requests:
        await until(lambda request=request: process.attempts(request))
    services[0].process.kill()
    for request in requests:
        await until(lambda request=request: process.rendered(request), 20)
    states = [[attempt[2] for attempt in await process.attempts(request)] for request in requests]
    assert ["unknown", "rendered"] in states and ["rendered"] in states
    for request, each in zip(requests, states, strict=True):
        assert 1 <= len(simulator.calls(request)) <= len(each), "no call without an attempt of its own"


async def test_sigterm_lets_what_was_begun_finish(process, simulator, services):
    """Nothing is lost, nothing is paid twice; and no secret and no prompt was ever logged."""
    late = [ask("[[sim:latency=1]]") for _ in range(4)]
    for request in late:
        await fund(process, request)
        await until(lambda request=request: process.attempts(request))
    began_at = time.monotonic()
    await asyncio.to_thread(services[1].process.stop)
    assert time.monotonic() - began_at < 10
    log = services[1].process.log_path.read_text()
    for request in late:
        assert await process.attempts(request) == [(0, 1, "rendered", None)]
        assert len(simulator.calls(request)) == 1 and await process.rendered_times(request) == 1
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert {str(request.generation_id) for request in late} <= {line.get("generation_id") for line in lines}
    assert "canary" not in log and "quiet harbour" not in log


async def test_nothing_is_consumed_before_what_all_share_was_read(database_url, streams, tmp_path):
    """The database comes later: what is forbidden and whose keys there are would not be known to what is begun."""
    database, port, log_path = make_url(database_url), free_port(), tmp_path / "generator.log"

    async def forward(reader, writer):
        with contextlib.suppress(OSError, asyncio.CancelledError):
            while some := await reader.read(1 << 16):
                writer.write(some)
        writer.close()

    async def connect(reader, writer):
        there = await asyncio.open_connection(database.host, database.port)
        await asyncio.gather(forward(reader, there[1]), forward(there[0], writer))

    nearby = database.set(host="127.0.0.1", port=free_port())
    settings = {
        "NATS_URL": streams,
        "GENERATOR_DATABASE_URL": nearby.render_as_string(hide_password=False),
        "GENERATOR_PORT": str(port),
    }
    command = [sys.executable, "-m", "generator"]
    service = Service(Process("generator", command, log_path=log_path, env=os.environ | settings), port)
    try:
        await until(lambda: b"not started" in service.get("/ready")[1], 20)
        await asyncio.sleep(1)
        assert b"generator-" in service.get("/ready")[1], "its consumers have not begun"
        async with await asyncio.start_server(connect, nearby.host, nearby.port):
            # Not in the thread that forwards.
            await until(lambda: asyncio.to_thread(lambda: service.get("/ready")[0] == 200), 30)
            await asyncio.to_thread(service.process.stop)
    finally:
        service.process.kill()


async def say(process, outcome: Outcome):
    subject = outcome_subject(outcome.data.generation_id)
    await publish_unique(process.broker, subject, outcome.encode(), stream="OUTCOMES", content_type=CONTENT_TYPE)


async def closed(process, request):
    return await process.state(request) == "closed"
