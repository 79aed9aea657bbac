"""The use case: what a provider returned becomes assets of ours, and the generation gets its outcome."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Coroutine, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TypeVar
from uuid import UUID

import structlog
from faststream.nats import NatsBroker
from nats.errors import Error as NatsError

from contracts.facts import Asset, Ending, Failure, Outcome, Output, Rendered, Rendering, Request, Verdict
from contracts.ids import asset_id
from contracts.progress import Progress
from contracts.topology import progress_subject
from runtime.database import Database, Together
from runtime.outbound import Refused, Unreachable
from runtime.telemetry import current_traceparent
from storage import assets
from storage.addresses import addresses
from storage.downloads import Body, Downloads
from storage.judging import judge
from storage.objects import Objects, name_of
from storage.pictures import Unusable
from storage.preparation import Preparation

SOURCE = "storage"
STORING_PERCENT = 90

log = structlog.get_logger()
T = TypeVar("T")


class Overtaken(OSError):
    """Another process stored or closed this generation meanwhile. Transient: look again."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An output whose bytes came and are what was asked for."""

    asset: Asset
    body: Body


class Ingest:
    """Stores what was rendered."""

    def __init__(
        self,
        database: Database,
        broker: NatsBroker,
        downloads: Downloads,
        objects: Objects,
        preparation: Preparation,
    ) -> None:
        self._database = database
        self._broker = broker
        self._downloads = downloads
        self._objects = objects
        self._known = Together(partial(assets.known, database))
        self._preparation = preparation
        self._open_rows = Together(partial(assets.open_rows, database, objects.backend))
        self._finish_rows = Together(partial(assets.finish_rows, database))

    async def store(self, rendered: Rendered) -> Outcome:
        """What is to be said about the generation: its recorded outcome if it is closed, else what storing it gave.

        Everything here may run again after any line: an asset's id follows from the generation, its token and what was
        stored of it are kept.

        Raises:
            OSError, nats.errors.Error, sqlalchemy.exc.DBAPIError: something of ours is away; run it again.
        """
        rendering = rendered.data
        known = await self._known(rendering.request.generation_id)
        if known.outcome is not None:
            await assets.drop(self._database, [rendering.request.generation_id])
            return known.outcome
        await self._progress(rendering.request)
        with ExitStack() as bodies:
            arrived, failures = await self._receive(rendering, known.stored, bodies)
            kept = await self._keep(rendering.request, arrived)
        delivered = sorted((*known.stored.values(), *kept), key=lambda asset: asset.index)
        log.info("assets.stored", assets=[str(asset.id) for asset in delivered], failures=[f.code for f in failures])
        ending = _ending(rendering, tuple(delivered), failures)
        return Outcome.of(ending, SOURCE, current_traceparent(rendered.traceparent))

    async def yield_to(self, kept: Outcome) -> None:
        """The log keeps another outcome than ours: records it, and drops the rows that it does not name."""
        await assets.close(self._database, [kept])
        dropped = await assets.drop(self._database, [kept.data.generation_id])
        log.info("outcome.of_another", verdict=kept.data.verdict, source=kept.source, dropped=dropped)

    async def _receive(
        self, rendering: Rendering, stored: dict[int, Asset], bodies: ExitStack
    ) -> tuple[list[Arrival], list[Failure]]:
        """All outputs that are not stored yet, in parallel. What is away for all of them is raised once."""
        wanted = [output for output in rendering.outputs if output.index not in stored]
        results = await _all(self._take(rendering, output, bodies) for output in wanted)
        return (
            [result for result in results if isinstance(result, Arrival)],
            [result for result in results if isinstance(result, Failure)],
        )

    async def _take(self, rendering: Rendering, output: Output, bodies: ExitStack) -> Arrival | Failure:
        """One output, fetched, decoded and judged where that is wanted, or why it cannot be kept."""
        if output.failure is not None:
            return output.failure
        request = rendering.request
        try:
            body = await self._downloads.get(request, output)
            bodies.callback(body.content.close)
            prepared = await self._preparation.prepare(request, body)
            bodies.callback(prepared.body.content.close)
            if rendering.judge_frames:
                refusal = await judge(self._broker, await self._preparation.frames(prepared.body))
                if refusal is not None:
                    log.info("output.refused", index=output.index, code=refusal.code)
                    return refusal
        except (Refused, Unusable) as error:
            log.warning("output.unusable", index=output.index, error=str(error))
            return Failure(code="result_unusable", message=f"The provider's result cannot be used: {error}.")
        except Unreachable as error:
            log.warning("output.unreachable", index=output.index, error=str(error))
            return Failure(code="result_unreachable", message=f"The provider's result could not be fetched: {error}.")
        asset = Asset(
            id=asset_id(request.generation_id, output.index),
            index=output.index,
            mime_type=prepared.mime_type,
            size_bytes=prepared.body.size,
            sha256=prepared.body.sha256,
            width=prepared.width,
            height=prepared.height,
            seconds=prepared.seconds,
            bitrate=prepared.bitrate,
            blurhash=prepared.blurhash,
            provider_size=prepared.provider_size,
            source_url=output.url,
            **addresses(secrets.token_hex(16), prepared.mime_type),
        )
        return Arrival(asset, prepared.body)

    async def _keep(self, request: Request, arrived: list[Arrival]) -> tuple[Asset, ...]:
        """Rows, then bytes, then rows again: an object never is without a row that names it. Raises Overtaken."""
        if not arrived:
            return ()
        new = [each.asset for each in arrived]
        opening = assets.Opening(request.generation_id, request.user_id, new, request.visibility)
        opened = await self._open_rows(opening)
        if opened is None:
            raise Overtaken("the generation was closed or stored meanwhile")
        await _all(
            self._objects.put(name_of(request.user_id, each.body.sha256), each.body.content, each.body.size)
            for each in arrived
        )
        if not await self._finish_rows(opened):
            raise Overtaken("the generation was closed meanwhile")
        return opened

    async def _progress(self, request: Request) -> None:
        progress = Progress(
            generation_id=request.generation_id,
            number=time.time_ns() // 1_000_000,  # after whatever the generator counted
            stage="storing",
            percent=STORING_PERCENT,
        )
        with contextlib.suppress(NatsError, OSError):
            payload = progress.model_dump_json().encode()
            await self._broker.connection.publish(progress_subject(request.generation_id), payload)


async def _all(work: Iterable[Coroutine[None, None, T]]) -> list[T]:
    """Waits for all of it, also when one fails, and then raises the first failure: nothing is left running."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results  # type: ignore[return-value]


def _ending(rendering: Rendering, delivered: tuple[Asset, ...], failures: list[Failure]) -> Ending:
    """Completed with what is there; failed only when nothing is."""
    if delivered:
        return Ending(
            generation_id=rendering.request.generation_id,
            verdict=Verdict.COMPLETED,
            assets=delivered,
            provider=rendering.provider,
            cached=rendering.cached,
        )
    nothing = Failure(code="result_unusable", message="The provider returned nothing.")
    return Ending(
        generation_id=rendering.request.generation_id,
        verdict=Verdict.FAILED,
        provider=rendering.provider,
        failure=failures[0] if failures else nothing,
    )


def unreadable(generation_id: UUID) -> Outcome:
    """What is said when a `rendered` cannot be read: waiting for another would wait for the deadline."""
    failure = Failure(code="result_unusable", message="The provider's result could not be understood.")
    return Outcome.of(Ending(generation_id=generation_id, verdict=Verdict.FAILED, failure=failure), SOURCE, None)
