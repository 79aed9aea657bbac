"""Where a collector is named, one trace follows one generation from the request to the webhook."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import uuid4

import aiohttp
import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bench.stack import running
from tests.whole.conftest import BRISK, Darkroom, User

pytestmark = pytest.mark.whole


@dataclass(frozen=True)
class Seen:
    """A span as the collector was told it."""

    service: str
    name: str
    id: str
    parent: str
    began_at: int
    """Nanoseconds."""
    milliseconds: float


class Collector:
    """Keeps what OTLP/HTTP brings: trace id → its spans."""

    def __init__(self) -> None:
        self.spans: dict[str, list[Seen]] = {}
        self.told: list[str] = []
        """The trace contexts with which webhooks were told."""
        self.url = ""

    async def receive(self, request: web.Request) -> web.Response:
        exported = ExportTraceServiceRequest.FromString(await request.read())
        for resource in exported.resource_spans:
            names = [pair.value.string_value for pair in resource.resource.attributes if pair.key == "service.name"]
            for scope in resource.scope_spans:
                for span in scope.spans:
                    milliseconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e6
                    seen = Seen(
                        names[0].removeprefix("darkroom-"),
                        span.name,
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        span.start_time_unix_nano,
                        milliseconds,
                    )
                    self.spans.setdefault(span.trace_id.hex(), []).append(seen)
        return web.Response()

    async def hear(self, request: web.Request) -> web.Response:
        self.told.append(request.headers["traceparent"])
        return web.Response()

    def steps(self, trace_id: str) -> set[tuple[str, str]]:
        return {(span.service, span.name) for span in self.spans.get(trace_id, [])}


def tree(spans: list[Seen], parent: str, depth: int = 0) -> list[str]:
    """A trace as an operator would look at it: who did what because of whom."""
    lines = []
    for span in sorted((span for span in spans if span.parent == parent), key=lambda span: span.began_at):
        lines.append(f"{'  ' * depth}{span.service}: {span.name} ({span.milliseconds:.1f} ms)")
        lines += tree(spans, span.id, depth + 1)
    return lines


EVERYTHING = {
    ("gateway", "POST /v1/generations"),
    ("ledger", "ledger-hold-requested"),
    ("generator", "generator-render-image-interactive"),
    ("generator", "submit"),
    ("storage", "storage-store-rendered-interactive"),
    ("ledger", "ledger-settle-outcomes"),
    # Which tells the client, before it is done.
    ("gateway", "gateway-record-outcomes"),
    ("gateway", "webhook"),
}
CALLER = "00f067aa0ba902b7"
"""The span of whoever asked."""


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.receive)
    app.router.add_post("/told", collector.hear)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield collector
    await runner.cleanup()


async def test_a_trace_follows_a_generation(collector: Collector, tmp_path_factory: pytest.TempPathFactory) -> None:
    data = tmp_path_factory.mktemp("traced")
    environment = {
        **BRISK,
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "300",
        "OUTBOUND_ALLOW": collector.url.removeprefix("http://"),
    }
    stack = running(data, **environment)
    darkroom = Darkroom(await asyncio.to_thread(stack.__enter__), data)
    try:
        async with aiohttp.ClientSession() as session:
            user = User(darkroom, session, uuid4())
            webhook = {"url": f"{collector.url}/told", "events": ["generation.completed"]}
            status, made, _ = await user.call("POST", "/v1/webhooks", json=webhook)
            assert status == 201, made
            trace_id = uuid4().hex
            headers = {"traceparent": f"00-{trace_id}-{CALLER}-01"}
            body = {"kind": "image", "prompt": "Traced", "size": "512x512"}
            status, accepted, _ = await user.call("POST", "/v1/generations", json=body, headers=headers)
            assert status == 202
            await user.ended(accepted["id"])
        for _ in range(100):
            if collector.steps(trace_id) >= EVERYTHING:
                break
            await asyncio.sleep(0.1)
        spans = collector.spans.get(trace_id, [])
        told = tree(spans, CALLER)
        print("\n" + "\n".join(told))
        assert collector.steps(trace_id) >= EVERYTHING
        assert len(told) == len(spans), "every span is below the caller's"
        (last,) = [span for span in spans if span.name == "webhook"]
        assert collector.told == [f"00-{trace_id}-{last.id}-01"], "and the receiver can go on with it"
        assert {span.service for span in spans} == {"gateway", "ledger", "generator", "storage"}
    finally:
        await asyncio.to_thread(stack.__exit__, None, None, None)
