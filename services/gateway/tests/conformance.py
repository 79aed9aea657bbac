"""What every dialect has to do, written once. A dialect's tests inherit `Conformance` and say how it asks and answers.

    class TestSocial(Conformance):
        surface = Dialect(
            submit=("POST", "/api/social/generate-image", {"prompt": "x", "style": "minimal", "count": 1}),
            accepted=200,
            id_of=lambda answer: answer.json["data"]["images"][0]["metadata"]["generationId"],
        )

Everything is driven through HTTP as the frontend would, against a real gateway, NATS and Postgres; the other services
are played.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from contracts.facts import Failure, Request, Verdict

from .client import Answer, Client, token
from .conftest import MakeClient
from .players import Players

ORIGIN = {"Origin": "https://app.example"}
JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Dialect:
    """How one dialect asks for a generation and shows it."""

    submit: tuple[str, str, dict[str, Any]]
    """Method, path and JSON body of a good request."""
    accepted: int
    """The status of a good answer."""
    held_open: bool = True
    """Whether the answer comes once the generation is final."""
    show: str | None = None
    """The path at which the generation is looked at, with `{id}`; None where the dialect has none."""
    cancel: str | None = None
    cancel_method: str = "POST"
    state: Callable[[Answer], str] = lambda answer: answer.json["status"]
    """The state in an answer of `show`, in the dialect's words."""
    states: dict[str, str] = field(default_factory=dict)
    """Ours → the dialect's word: for `completed`, `failed`, `declined`, `cancelled`."""
    id_in_answer: Callable[[Answer], str] | None = None
    """What `show` takes, out of the answer to `submit`; None: the generation's own id."""
    statuses: dict[str, int] = field(default_factory=dict)
    """Where the dialect's seed has other HTTP statuses than ours: code → status."""
    stopped_is_done: bool = False
    """Whether a held-open answer to what was cancelled is a good one: whoever stopped it is shown no error."""
    multipart: bool = False
    """The body is a form."""
    message_of: Callable[[Any], list[str]] = lambda body: [body["error"], body["message"], body["detail"]]
    """The strings that say in an error's body what is wrong."""


class Conformance:
    """Inherited by every dialect's tests."""

    surface: Dialect

    async def submit(self, client: Client, headers: dict[str, str] | None = None) -> Answer:
        method, path, body = self.surface.submit
        if self.surface.multipart:
            return await client.request(method, path, headers, data=body)
        return await client.request(method, path, headers, json=body)

    async def show(self, client: Client, shown_as: str) -> Answer:
        assert self.surface.show is not None
        return await client.get(self.surface.show.format(id=shown_as))

    async def cancel(self, client: Client, shown_as: str) -> Answer:
        assert self.surface.cancel is not None
        return await client.request(self.surface.cancel_method, self.surface.cancel.format(id=shown_as), JSON)

    def assert_refused(self, answer: Answer, status: int, code: str = "") -> None:
        assert answer.status == self.surface.statuses.get(code, status), answer.text
        said = self.surface.message_of(answer.json)
        assert said and all(isinstance(text, str) and text for text in said), answer.text

    async def count(self, postgres: asyncpg.Pool, client: Client) -> int:
        """How many generations are recorded for a user."""
        found: int = await postgres.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", client.user_id)
        return found

    async def ended(self, client: Client, players: Players, script: Callable[[Request], Any]) -> tuple[Answer, Request]:
        """The answer to a good request that ends as the script says, and what was asked of the others."""
        players.scripts[client.user_id] = script
        answer = await self.submit(client)
        async with asyncio.timeout(10):
            while not players.of(client.user_id):
                await asyncio.sleep(0.01)
        return answer, (await players.published(client.user_id))[0]

    # -- how it ends --------------------------------------------------------------------------------------------

    async def test_what_is_asked_for_is_made(self, client: Client, players: Players) -> None:
        answer, request = await self.ended(client, players, players.complete)
        assert answer.status == self.surface.accepted, answer.text
        assert (await client.ended(str(request.generation_id)))["status"] == "completed"
        await self._shown(client, answer, request, "completed")

    @pytest.mark.parametrize(
        ("verdict", "code", "status"),
        [
            (Verdict.FAILED, "content_policy", 400),
            (Verdict.FAILED, "provider_error", 502),
            (Verdict.FAILED, "provider_throttled", 429),
            (Verdict.DECLINED, "insufficient_credits", 402),
            (Verdict.CANCELLED, "", 409),
        ],
    )
    async def test_what_is_not_delivered_is_said_in_its_words(
        self, client: Client, players: Players, verdict: Verdict, code: str, status: int
    ) -> None:
        failure = Failure(code=code, message="It says no.") if code else None

        async def play(request: Request) -> None:
            await players.end(request, verdict, failure)

        answer, request = await self.ended(client, players, play)
        is_good = verdict is Verdict.CANCELLED and self.surface.stopped_is_done
        if self.surface.held_open and not is_good:
            self.assert_refused(answer, status, code or verdict.value)
        else:
            assert answer.status == self.surface.accepted, answer.text
        assert (await client.ended(str(request.generation_id)))["status"] == verdict
        await self._shown(client, answer, request, verdict.value)

    async def test_a_cancel_ends_it(self, client: Client, players: Players) -> None:
        if self.surface.cancel is None or self.surface.held_open:
            return  # the native API's cancel serves it, and has its own tests
        answer, request = await self.ended(client, players, players.hold)
        shown_as = self._shown_as(answer, request)
        cancelled = await self.cancel(client, shown_as)
        assert cancelled.status < 300, cancelled.text
        assert (await client.ended(str(request.generation_id)))["status"] == "cancelled"
        await self._shown(client, answer, request, "cancelled")

    async def _shown(self, client: Client, answer: Answer, request: Request, status: str) -> None:
        if self.surface.show is None or (self.surface.held_open and self.surface.id_in_answer and answer.status >= 400):
            return
        shown = await self.show(client, self._shown_as(answer, request))
        assert shown.status == 200, shown.text
        assert self.surface.state(shown) == self.surface.states[status]

    def _shown_as(self, answer: Answer, request: Request) -> str:
        return self.surface.id_in_answer(answer) if self.surface.id_in_answer else str(request.generation_id)

    # -- who asks -----------------------------------------------------------------------------------------------

    async def test_nobody_gets_nothing(self, nobody: Client, postgres: asyncpg.Pool) -> None:
        before = await postgres.fetchval("SELECT count(*) FROM generations")
        self.assert_refused(await self.submit(nobody), 401, "unauthenticated")
        assert await postgres.fetchval("SELECT count(*) FROM generations") == before

    @pytest.mark.parametrize(
        "claims", [{"exp": int(time.time()) - 3600}, {"secret": "somebody else's secret, which is long enough"}]
    )
    async def test_a_token_that_is_not_to_be_believed_is_refused(
        self, client_of: MakeClient, claims: dict[str, Any], postgres: asyncpg.Pool
    ) -> None:
        known = client_of()
        hasty = client_of(known.user_id, token(known.user_id, **claims))
        self.assert_refused(await self.submit(hasty), 401, "unauthenticated")
        assert await self.count(postgres, known) == 0

    async def test_somebody_elses_is_not_there(self, client_of: MakeClient, players: Players) -> None:
        if self.surface.show is None:
            return
        one, other = client_of(), client_of()
        answer, request = await self.ended(one, players, players.complete)
        await one.ended(str(request.generation_id))
        shown_as = self._shown_as(answer, request)
        self.assert_refused(await self.show(other, shown_as), 404, "not_found")
        if self.surface.cancel is not None:
            foreign = await self.cancel(other, shown_as)
            self.assert_refused(foreign, 404, "not_found")

    @pytest.mark.parametrize("wrong", [str(UUID(int=1)), "nonsense", "%00", "x" * 300])
    async def test_an_id_that_names_nothing_is_404(self, client: Client, wrong: str) -> None:
        if self.surface.show is not None:
            self.assert_refused(await client.get(self.surface.show.format(id=wrong)), 404, "not_found")

    # -- bad input ----------------------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        "body", [b"", b"{", b"[]", b"null", b'"text"', b"\xff\xfe", b'{"prompt": 1}', b'{"prompt": ""}', b"{" * 10_000]
    )
    async def test_a_bad_body_is_refused_and_changes_nothing(
        self, client: Client, postgres: asyncpg.Pool, body: bytes
    ) -> None:
        method, path, _ = self.surface.submit
        answer = await client.request(method, path, JSON, data=body)
        assert 400 <= answer.status < 500, answer.text
        said = self.surface.message_of(answer.json)
        assert said and all(isinstance(text, str) and text for text in said), answer.text
        assert await self.count(postgres, client) == 0

    async def test_a_text_that_is_none_is_no_defect(self, client: Client) -> None:
        """Half of a surrogate pair, which JSON can say and UTF-8 cannot, is refused or passed over, and answered."""
        method, path, body = self.surface.submit
        if self.surface.multipart:
            return  # the text of a form is UTF-8
        for name in ("model", *(name for name, value in body.items() if isinstance(value, str))):
            answer = await client.request(method, path, json=body | {name: "\ud800"})
            assert answer.status < 500, (name, answer.text)

    async def test_a_body_over_the_limit_is_413(self, client: Client) -> None:
        method, path, _ = self.surface.submit
        if self.surface.multipart:
            return  # the limit of a form is a file's, and has its own test
        large = b'{"prompt": "' + b"x" * (1 << 20) + b'"}'
        self.assert_refused(await client.request(method, path, JSON, data=large), 413, "body_too_large")

    async def test_no_credits_no_generation(self, client: Client, players: Players, postgres: asyncpg.Pool) -> None:
        players.available[client.user_id] = 0
        answer = await self.submit(client)
        self.assert_refused(answer, 402, "insufficient_credits")
        assert await self.count(postgres, client) == 0

    async def test_who_waits_for_too_many_waits_for_no_further_one(
        self, client: Client, postgres: asyncpg.Pool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """API4. What cannot but wait is refused before anything is accepted; a preference is passed over."""
        monkeypatch.setattr("gateway.waiting.MAX_WAITS_OF_USER", 0)
        answer = await self.submit(client, {"Prefer": "wait=9"})
        if self.surface.held_open:
            self.assert_refused(answer, 429, "too_many_requests")
            assert answer.headers["Retry-After"] == "5"
        else:
            assert answer.status == self.surface.accepted, answer.text
        assert await self.count(postgres, client) == (0 if self.surface.held_open else 1)

    # -- what surrounds it --------------------------------------------------------------------------------------

    async def test_a_browser_may_read_errors_too(self, client: Client, nobody: Client) -> None:
        _, path, _ = self.surface.submit
        for answer in (
            await self.submit(nobody, ORIGIN),
            await client.post(path, ORIGIN | JSON, data=b"{"),
            await client.request("PATCH", path, ORIGIN),
        ):
            assert answer.status >= 400
            assert answer.headers["Access-Control-Allow-Origin"] == "*", answer.text
            assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]

    async def test_a_preflight_is_answered(self, nobody: Client) -> None:
        method, path, _ = self.surface.submit
        asked = ORIGIN | {
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "authorization,content-type,apikey,x-client-info,idempotency-key",
        }
        answer = await nobody.request("OPTIONS", path, asked)
        assert answer.status in {200, 204}, answer.text
        assert answer.headers["Access-Control-Allow-Origin"] == "*"

    async def test_it_says_how_much_may_still_be_asked(self, client: Client) -> None:
        answer = await self.submit(client)
        limit, left = int(answer.headers["X-RateLimit-Limit"]), int(answer.headers["X-RateLimit-Remaining"])
        assert 0 <= left <= limit
        assert abs(int(answer.headers["X-RateLimit-Reset"]) - time.time()) < 120

    async def test_the_same_key_gives_the_same_answer(
        self, client: Client, players: Players, postgres: asyncpg.Pool
    ) -> None:
        answers = [await self.submit(client, {"Idempotency-Key": "once"}) for _ in range(2)]
        assert {answer.status for answer in answers} == {self.surface.accepted}, answers[-1].text
        assert await self.count(postgres, client) == 1

    async def test_a_client_without_a_key_may_ask_twice(self, client: Client, postgres: asyncpg.Pool) -> None:
        for _ in range(2):
            assert (await self.submit(client)).status == self.surface.accepted
        assert await self.count(postgres, client) == 2
