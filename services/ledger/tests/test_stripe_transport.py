"""What may go wrong on the wire to Stripe: bounded, never followed elsewhere, and always said as one of two things."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from aiohttp import web
from pydantic import SecretStr

from ledger.domain.payments import Payment
from ledger.payments import provider as provider_module
from ledger.payments.provider import Provider, RefusedError, SilentError
from ledger.settings import PaymentSettings

KEY = "sk_test_on_the_wire"
NEW = Payment(uuid4(), uuid4(), "small", 1, 1000, "usd")


@asynccontextmanager
async def stripe_that(answers: Callable[[web.Request], Awaitable[web.StreamResponse]]):
    """A provider whose Stripe answers so, and the requests that it got."""
    got: list[web.Request] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        got.append(request)
        return await answers(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    provider = Provider(PaymentSettings(stripe_secret_key=SecretStr(KEY), stripe_base_url=url), KEY)
    try:
        yield provider, got
    finally:
        await provider.close()
        await runner.cleanup()


async def elsewhere(request: web.Request) -> web.Response:
    return web.Response(status=307, headers={"Location": f"http://127.0.0.1:{request.url.port}/v1/stolen"})


async def page(_: web.Request) -> web.Response:
    return web.Response(text="<html>come back later</html>", content_type="text/html")


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 100_000)


async def never(_: web.Request) -> web.Response:
    await asyncio.sleep(30)
    return web.Response()


async def drip(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.05)


@pytest.mark.parametrize("answers", [elsewhere, page, endless, never, drip])
async def test_what_is_no_answer_is_silence_and_asked_for_once(answers, monkeypatch):
    monkeypatch.setattr(provider_module, "CALL_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setattr(provider_module, "MAX_ANSWER_BYTES", 1_000_000)
    async with stripe_that(answers) as (provider, got):
        with pytest.raises(SilentError) as silent:
            await provider.create(NEW)
        assert KEY not in str(silent.value)
        assert [request.path for request in got] == ["/v1/payment_intents"]
        assert got[0].headers["Idempotency-Key"] == f"darkroom-payment-{NEW.id}"
        assert got[0].headers["Authorization"] == f"Bearer {KEY}"
        assert "X-Stripe-Client-Telemetry" not in got[0].headers


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"type": "invalid_request_error"}, RefusedError),
        (400, {"type": "idempotency_error"}, RefusedError),
        (401, {"type": "invalid_request_error"}, RefusedError),
        (402, {"type": "card_error", "code": "card_declined"}, RefusedError),
        (403, {"type": "invalid_request_error"}, RefusedError),
        (404, {"type": "invalid_request_error", "code": "resource_missing"}, RefusedError),
        (409, {"type": "invalid_request_error"}, SilentError),
        (429, {"type": "invalid_request_error", "code": "rate_limit"}, SilentError),
        (500, {"type": "api_error"}, SilentError),
        (503, {"type": "api_error"}, SilentError),
    ],
)
async def test_a_refusal_of_stripes_says_whether_asking_again_is_of_use(status, error, kind):
    async def refuse(_: web.Request) -> web.Response:
        return web.json_response({"error": {**error, "message": f"You sent {KEY}."}}, status=status)

    async with stripe_that(refuse) as (provider, got):
        for call in (provider.create(NEW), provider.retrieve("pi_1"), provider.events(0, None)):
            with pytest.raises(kind) as refused:
                await call
            assert KEY not in str(refused.value)
        assert len(got) == 3, "nothing is tried twice here"


async def test_only_a_live_key_moves_real_money():
    for key, is_live in (("sk_test_1", False), ("rk_test_1", False), ("sk_live_1", True), ("rk_live_1", True)):
        assert Provider(PaymentSettings(), key).is_live is is_live


async def test_where_nobody_listens_it_is_silence():
    provider = Provider(PaymentSettings(stripe_base_url="http://127.0.0.1:1"), KEY)
    with pytest.raises(SilentError):
        await provider.retrieve("pi_1")
    await provider.close()
