"""Who may say that a task has moved: whoever knows the address, and where the provider signs, nobody else."""

import asyncio
import time
from uuid import uuid4

import pytest
from aiohttp import web

from contracts.facts import Kind
from generator.attempts import attempt_id
from generator.callbacks import MAX_BODY_BYTES, PATH, Callbacks
from generator.follow import HINTED_EVERY_SECONDS
from generator.providers.fal import Fal
from generator.providers.interface import Running, Submission
from generator.providers.replicate import Replicate
from generator.providers.signatures import secret_of

from .stage import ask, ask_film, ended, until

pytestmark = pytest.mark.connected

MODELS = {
    "fal": "fal-ai/flux/schnell",
    "replicate": "black-forest-labs/flux-schnell",
    "modelark": "seedance-1-0-pro-250528",
}


@pytest.fixture
async def posted():
    """Where a provider posts to: its address, and what came there as (path, headers, body)."""
    heard = asyncio.Queue()

    async def take(request):
        headers = {name.lower(): value for name, value in request.headers.items()}
        heard.put_nowait((request.path.removeprefix(PATH), headers, await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", heard
    await runner.cleanup()


@pytest.fixture
def callbacks(process, posted):
    return Callbacks(process.catalog, process.follower, process.broker, process.submitter._providers, posted[0])


@pytest.fixture
def hinted(process, monkeypatch):
    heard = []
    monkeypatch.setattr(process.follower, "hint", heard.append)
    return heard


async def told(process, callbacks, posted, provider):
    """An attempt's id, and what its provider said about it."""
    attempt_id = uuid4()
    kind = Kind.VIDEO if provider == "modelark" else Kind.IMAGE
    submission = Submission(
        reference=attempt_id, kind=kind, model=MODELS[provider], prompt=f"a boat {attempt_id}", count=1,
        first_index=0, size="1024x1024", options={}, timeout_seconds=10, seconds=5 if kind is Kind.VIDEO else None,
        callback_url=callbacks.url(attempt_id, None if provider == "modelark" else provider),
    )  # fmt: skip
    await process.submitter._providers[provider].submit(submission)
    async with asyncio.timeout(10):
        return attempt_id, await posted[1].get()


def reading(body):
    async def read():
        return body

    return read


@pytest.mark.parametrize("provider", ["fal", "replicate"])
async def test_what_a_provider_signed_is_heard_and_nothing_else(
    process, callbacks, posted, hinted, provider, monkeypatch
):
    attempt_id, (path, headers, body) = await told(process, callbacks, posted, provider)
    assert path.startswith(f"{provider}/")
    assert await callbacks.called(path, headers, reading(body)) == 200
    assert hinted == [attempt_id]
    for changed in (body + b" ", b"", b"{}"):
        assert await callbacks.called(path, headers, reading(changed)) == 401
    for name in [name for name in headers if "webhook" in name]:
        assert await callbacks.called(path, headers | {name: "1"}, reading(body)) == 401
        assert await callbacks.called(path, {**headers, name: ""}, reading(body)) == 401
    assert await callbacks.called(path, {}, reading(body)) == 401
    monkeypatch.setattr("generator.providers.signatures.TOLERANCE_SECONDS", -1.0)
    assert await callbacks.called(path, headers, reading(body)) == 401, "not of now"
    assert hinted == [attempt_id]


async def test_what_a_provider_does_not_sign_is_a_hint_by_its_address_alone(process, callbacks, posted, hinted):
    attempt_id, (path, headers, body) = await told(process, callbacks, posted, "modelark")
    assert "/" not in path
    assert await callbacks.called(path, headers, reading(body)) == 200
    assert hinted == [attempt_id]


async def test_an_address_is_good_in_its_own_place_only(callbacks, hinted):
    attempt_id = uuid4()
    signed, unsigned = (callbacks.url(attempt_id, signer).partition(PATH)[2] for signer in ("fal", None))
    token = signed.removeprefix("fal/")
    assert token != unsigned
    for path in (
        token,
        f"replicate/{token}",
        f"fal/{unsigned}",
        f"fal/x/{token}",
        f"/{token}",
        signed[:-1],
        f"{signed}0",
    ):
        assert await callbacks.called(path, {}, reading(b"")) == 404
    assert hinted == []


async def test_keys_that_cannot_be_read_are_no_verdict(process, callbacks, hinted, posted):
    """The provider says it again later."""
    base, _ = posted
    away = {"fal": Fal(process.session, "k", "http://127.0.0.1:1"), "replicate": Replicate(process.session, "k", base)}
    callbacks = Callbacks(process.catalog, process.follower, process.broker, away, base)
    for provider in away:
        path = callbacks.url(uuid4(), provider).partition(PATH)[2]
        assert await callbacks.called(path, {}, reading(b"")) == 503
    assert hinted == []


async def test_a_body_is_bounded(callbacks, hinted):
    path = PATH + callbacks.url(uuid4(), "fal").partition(PATH)[2]
    answers = []

    async def receive():
        return {"type": "http.request", "body": b"x" * 100_000, "more_body": True}

    async def send(message):
        answers.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "headers": [(b"X-Fal-Webhook-User-Id", b"1")]}
    await callbacks.before(None)(scope, receive, send)
    assert answers[0]["status"] == 413 and MAX_BODY_BYTES < 2_000_000 and hinted == []


@pytest.fixture
async def followed(process, callbacks):
    """A film that is followed, and hints about it that every process hears: the one that says them, too."""
    await callbacks.start()
    request = ask_film("[[sim:latency=0.2]]")
    await process.generate(request)
    [attempt] = await process.work.attempts(request.generation_id)
    await asyncio.sleep(0.5)
    process.follower.start(process.leases.go_on)
    yield request, attempt.id
    await process.follower.stop()


async def test_a_hint_is_followed_at_once_however_often_it_is_said(process, callbacks, followed, monkeypatch):
    """Its own echo does not put it off."""
    monkeypatch.setattr("generator.follow.HINTED_EVERY_SECONDS", 30.0)
    request, attempt_id = followed
    assert process.follower._watched[attempt_id].look_at - time.monotonic() > 1
    await callbacks.hint(attempt_id)
    process.follower.hint(attempt_id)
    await until(lambda: not process.follower, 1)
    await until(lambda: process.rendered(request))


async def test_early_hints_that_nobody_needs_make_room(process, monkeypatch):
    """Every process hears those about the tasks that others follow, too."""
    monkeypatch.setattr("generator.follow.MAX_EARLY_HINTS", 2)
    request = ask_film("[[sim:latency=600]]")
    wanted = attempt_id(request.generation_id, 0, 1)
    for each in (uuid4(), uuid4(), wanted, uuid4()):
        process.follower.hint(each)
    await process.generate(request)
    assert process.follower._watched[wanted].look_at <= time.monotonic()
    await process.generator.close([ended(request)])


async def test_steady_hints_do_not_keep_a_task_from_being_looked_at(process, followed):
    request, attempt_id = followed
    looks, look = [], process.submitter.look

    async def unmoved(assignment, attempt):
        looks.append(time.monotonic())
        await look(assignment, attempt)
        return Running()

    process.submitter.look = unmoved
    began_at = time.monotonic()
    for _ in range(30):
        process.follower.hint(attempt_id)
        await asyncio.sleep(0.1)
    assert 3 <= len(looks) <= 2 * (time.monotonic() - began_at) / HINTED_EVERY_SECONDS
    await process.generator.close([ended(request)])


async def test_the_address_that_a_task_gets_names_who_signs(process, callbacks):
    """With a user's own key nobody knows whose secret it is: a hint and no more."""
    assert process.submitter._providers["fal"] is not None
    seen = {}
    process.submitter.callback_url = lambda attempt_id, signer: seen.setdefault(attempt_id, signer) and None
    fal, film = ask(model="flux-schnell", size="1024x1024"), ask_film()
    for request in (fal, film):
        await process.generate(request)
    assert sorted(map(str, seen.values())) == ["None", "fal"]
    own = ask(model="flux-schnell", size="1024x1024")
    process.submitter.own = lambda user_id, name: Fal(process.session, "k:k", "http://127.0.0.1:1")
    seen.clear()
    await process.generate(own)
    assert set(seen.values()) == {None}


@pytest.mark.parametrize("written", ["", "whsec_", "whsec_c2hvcnQ=", "whsec_not base64", "x"])
def test_a_secret_that_anybody_could_guess_is_none(written):
    with pytest.raises(ValueError):
        secret_of(written)
