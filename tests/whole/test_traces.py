"""Where a collector is named, one trace follows one generation through all four services."""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench.stack import running
from tests.whole.conftest import BRISK, Darkroom, User

pytestmark = pytest.mark.whole


class Collector:
    """Keeps what OTLP/HTTP brings: trace id → names of the services that wrote spans of it."""

    def __init__(self) -> None:
        self.services: dict[str, set[str]] = {}
        self.url = ""

    async def receive(self, request: web.Request) -> web.Response:
        exported = ExportTraceServiceRequest.FromString(await request.read())
        for resource in exported.resource_spans:
            names = [pair.value.string_value for pair in resource.resource.attributes if pair.key == "service.name"]
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.services.setdefault(span.trace_id.hex(), set()).update(names)
        return web.Response()


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield collector
    await runner.cleanup()


async def test_a_trace_follows_a_generation(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("traced")
    environment = {**BRISK, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "300"}
    stack = running(data, **environment)
    darkroom = Darkroom(await asyncio.to_thread(stack.__enter__), data)
    try:
        async with aiohttp.ClientSession() as session:
            user = User(darkroom, session, uuid4())
            trace_id = uuid4().hex
            headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
            body = {"kind": "image", "prompt": "Traced", "size": "512x512"}
            status, accepted, _ = await user.call("POST", "/v1/generations", json=body, headers=headers)
            assert status == 202
            await user.ended(accepted["id"])
        everybody = {f"darkroom-{service}" for service in ("gateway", "ledger", "generator", "storage")}
        for _ in range(100):
            if collector.services.get(trace_id) == everybody:
                break
            await asyncio.sleep(0.1)
        assert collector.services.get(trace_id) == everybody
    finally:
        await asyncio.to_thread(stack.__exit__, None, None, None)
