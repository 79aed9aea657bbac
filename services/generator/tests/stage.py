"""What the tests act with: the simulator and its journal, a generator process, the facts that it says."""

import asyncio
import json
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import aiohttp
from faststream.nats import NatsBroker
from pydantic import SecretStr
from sqlalchemy import text

from contracts.facts import Ending, Kind, Lane, Outcome, Rendered, Request, Verdict
from contracts.ids import new_generation_id
from contracts.money import Quote
from contracts.topology import GENERATION, OUTCOMES, outcome_subject, rendered_subject
from generator.adapters import everybody
from generator.announcements import Announcer
from generator.breakers import Breakers
from generator.catalog import Catalog
from generator.claims import Claims
from generator.drive import Driver
from generator.follow import Follower
from generator.generate import Generator
from generator.history import History
from generator.leases import Leases
from generator.limits import Limits
from generator.moderation import Moderation
from generator.providers.interface import Provider
from generator.reuse import Reuses
from generator.rules import Rules
from generator.settings import ModerationSettings, ProviderSettings
from generator.stopping import Stopper
from generator.submit import Submitter
from generator.work import Work
from runtime.broker import last_on, make_broker
from runtime.database import Database
from runtime.outbound import OutboundSettings, make_session
from runtime.settings import BrokerSettings, DatabaseSettings

CHEAP = "seedream-3-0-t2i-250415"
"""One picture a call, by address; an unknown attempt is made once more."""
DEAR = "gpt-image-2"
"""Several pictures a call, as bytes; an unknown attempt is a failure."""
FILM = "seedance-1-0-lite-t2v"
"""A task, which is followed; an unknown attempt is looked for at its provider."""
PAIR = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@dataclass(frozen=True)
class Simulator:
    """The provider's side: what it was asked, and what it would bill."""

    url: str

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def reset(self) -> None:
        self._ask("POST", "reset")

    def calls(self, request: Request) -> list[dict[str, Any]]:
        """Every call that reached a paid endpoint for this generation."""
        entries = self._ask("GET", "journal")
        return [entry for entry in entries if str(request.generation_id) in entry["prompt"]]

    def billed(self, request: Request) -> int:
        """How many pictures a real provider would charge."""
        return sum(entry["billed"] for entry in self.calls(request))

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        question = urllib.request.Request(f"{self.url}/__sim/{path}", method=method, data=content)
        with urllib.request.urlopen(question, timeout=5) as answer:
            return json.loads(answer.read())


def provider_settings(simulator_url: str, **others: Any) -> ProviderSettings:
    return ProviderSettings(
        ark_api_key=SecretStr("sk-ark"),
        ark_base_url=f"{simulator_url}/ark/api/v3",
        openai_api_key=SecretStr("sk-openai"),
        openai_base_url=f"{simulator_url}/openai/v1",
        fal_key=SecretStr("sk-fal"),
        fal_base_url=f"{simulator_url}/fal",
        replicate_api_token=SecretStr("sk-replicate"),
        replicate_base_url=f"{simulator_url}/replicate",
        anthropic_api_key=SecretStr("sk-anthropic"),
        anthropic_base_url=f"{simulator_url}/anthropic",
        stability_api_key=SecretStr("sk-stability"),
        stability_base_url=f"{simulator_url}/stability",
        elevenlabs_api_key=SecretStr("sk-elevenlabs"),
        elevenlabs_base_url=f"{simulator_url}/elevenlabs",
        gemini_api_key=SecretStr("sk-gemini"),
        gemini_base_url=f"{simulator_url}/google",
        runwayml_api_secret=SecretStr("sk-runway"),
        runwayml_base_url=f"{simulator_url}/runway",
        flow_api_key=SecretStr("sk-flow"),
        flow_base_url=f"{simulator_url}/flow",
        **others,
    )


@dataclass
class Process:
    """One process of the generator, driven by hand: its loops do not run."""

    database: Database
    broker: NatsBroker
    session: aiohttp.ClientSession
    catalog: Catalog
    work: Work
    submitter: Submitter
    announcer: Announcer
    follower: Follower
    generator: Generator
    leases: Leases
    breakers: Breakers
    limits: Limits

    @classmethod
    async def start(
        cls, database_url: str, nats_url: str, simulator_url: str, lease_seconds: float, **moderated: Any
    ) -> "Process":
        database = Database(DatabaseSettings(database_url=SecretStr(database_url), database_pool_size=5), "generator")
        broker = make_broker(BrokerSettings(nats_url=nats_url), "generator")
        await broker.start()
        session = make_session(OutboundSettings(outbound_allow=simulator_url.removeprefix("http://")))
        known = everybody(session, provider_settings(simulator_url))
        providers: dict[str, Provider] = {}  # until all is put together, as in `create_app`
        catalog = Catalog(database, known)
        await catalog.refresh()
        work = Work(database, uuid4(), lease_seconds)
        moderation = Moderation(Rules(database), providers, ModerationSettings(**moderated))
        announcer = Announcer(broker, moderation.judges_frames)
        submitter = Submitter(providers, Claims(broker), announcer, moderation)
        breakers, limits = Breakers(database), Limits(database)
        follower = Follower(submitter, announcer, History(database), breakers)
        driver = Driver(work, submitter, follower, announcer, breakers, limits, moderation, Reuses(database, broker))
        generator = Generator(work, catalog, driver, follower, announcer)
        leases = Leases(work, generator, follower, Stopper(work, catalog, submitter), (catalog, breakers, limits), 100)
        providers.update(known)
        return cls(
            database,
            broker,
            session,
            catalog,
            work,
            submitter,
            announcer,
            follower,
            generator,
            leases,
            breakers,
            limits,
        )

    async def stop(self) -> None:
        await self.leases.drain()
        await self.leases.stop()
        await self.session.close()
        await self.broker.stop()
        await self.database.close()

    async def generate(self, request: Request) -> None:
        await self.generator.generate(request, PAIR)

    def begin(self, request: Request) -> asyncio.Task[None]:
        return asyncio.create_task(self.generate(request))

    async def finish(self) -> None:
        """Follows what is followed to its end, as the loop of the process would."""
        self.follower.start(self.leases.go_on)
        try:
            await until(lambda: not self.follower and not self.leases._taken, 20)
        finally:
            await self.follower.stop()

    async def take_due(self) -> None:
        """Takes over what is due and waits until this process has nothing left to do."""
        await self.leases.take_due()
        while self.leases._taken:
            await asyncio.wait(self.leases._taken)

    async def rows(self, query: str, **parameters: Any) -> list[Any]:
        async with self.database.statement() as connection:
            return list((await connection.execute(text(query), parameters)).all())

    async def state(self, request: Request) -> str | None:
        rows = await self.rows("SELECT state FROM work WHERE generation_id = :id", id=request.generation_id)
        return rows[0].state if rows else None

    async def attempts(self, request: Request) -> list[tuple[int, int, str, str | None]]:
        """(item, number, state, why not) of each."""
        rows = await self.rows(
            "SELECT item, number, state, error ->> 'code' AS code FROM attempts WHERE generation_id = :id "
            "ORDER BY item, number",
            id=request.generation_id,
        )
        return [tuple(row) for row in rows]

    async def rendered(self, request: Request) -> Rendered | None:
        kept = await last_on(self.broker, rendered_subject(request), stream=GENERATION.name)
        return Rendered.decode(kept) if kept else None

    async def rendered_times(self, request: Request) -> int:
        subject = rendered_subject(request)
        info = await self.broker.connection.jetstream().stream_info(GENERATION.name, subjects_filter=subject)
        return (info.state.subjects or {}).get(subject, 0)

    async def outcome(self, request: Request) -> Outcome | None:
        kept = await last_on(self.broker, outcome_subject(request.generation_id), stream=OUTCOMES.name)
        return Outcome.decode(kept) if kept else None


def ask(
    words: str = "a quiet harbour",
    *,
    model: str = CHEAP,
    count: int = 1,
    seconds: float = 120,
    size: str | None = None,
    kind: Kind = Kind.IMAGE,
    generation_id: UUID | None = None,
    lane: Lane = Lane.INTERACTIVE,
    **others: Any,
) -> Request:
    """A request whose prompt holds its id, so that the simulator's journal and faults know it from all others."""
    generation_id = generation_id or new_generation_id()
    return Request(
        generation_id=generation_id,
        user_id=uuid4(),
        kind=kind,
        lane=lane,
        model=model,
        prompt=f"{words} {generation_id}",
        count=count,
        size=size or ("512x512" if model != "dall-e-3" else "1024x1024"),
        quote=Quote(amount=10_000 * count, unit_price=10_000, price_version=1),
        deadline_at=datetime.now(UTC) + timedelta(seconds=seconds),
        **others,
    )


def ask_film(words: str = "a quiet harbour", **others: Any) -> Request:
    """Two seconds of film."""
    others = {"kind": Kind.VIDEO, "model": FILM, "size": "864x480"} | others
    request = ask(words, **others)
    return request.model_copy(update={"seconds": 2})


def ended(request: Request, verdict: Verdict = Verdict.CANCELLED, source: str = "gateway") -> Outcome:
    return Outcome.of(Ending(generation_id=request.generation_id, verdict=verdict), source, PAIR)


async def until(holds: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Waits until it is true; the awaited value where it is a coroutine function."""
    give_up_at = time.monotonic() + seconds
    while True:
        found = holds()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return found
        assert time.monotonic() < give_up_at, "waited in vain"
        await asyncio.sleep(0.02)
