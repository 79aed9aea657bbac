"""The route of /v1 that shows one generation's way through the house."""

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from contracts.money import in_credits
from gateway.dialects.native import errors
from gateway.dialects.native.answers import json_answer, problems
from gateway.dialects.native.translate import generation_id
from gateway.dialects.surface import Surface, route_class
from gateway.timelines import Step, Timeline, Timelines


class StepView(BaseModel):
    """One step: a fact that the log keeps, or what a service's own row remembers."""

    step: str = Field(
        description="`accepted`, `requested`, `held`, `funded`, `attempt`, `rendered`, `stored`, `outcome`, "
        "`recorded`, `settled`, `notified`."
    )
    by: str = Field(description="The service.")
    at: datetime
    ended_at: datetime | None
    state: str | None = Field(description="As the row says it: a hold's, an attempt's, an asset's.")
    credits: int | float | None = Field(description="What was held, or captured.")
    provider: str | None
    model: str | None
    number: int | None
    code: str | None = Field(description="Why an attempt failed.")
    stream: str | None = Field(description="Where the log keeps the fact; null for what a row remembers.")
    sequence: int | None


class TimelineView(BaseModel):
    """In the order of time."""

    generation_id: UUID
    trace_id: str | None
    steps: list[StepView]
    silent: list[str] = Field(description="Who was asked, and did not answer in time.")


def make_router(surface: Surface) -> APIRouter:
    """The timeline."""
    router = APIRouter(prefix="/v1", route_class=route_class(errors.render), tags=["Generations"])
    timelines, identity = Timelines(surface.broker, surface.queries), surface.identity

    @router.get(
        "/generations/{id}/timeline",
        summary="See every step of a generation",
        response_model=TimelineView,
        responses=problems(404),
    )
    async def timeline(id: str, request: Request) -> Response:  # noqa: A002
        """The facts that the log still keeps (72 hours), and what each service's rows remember."""
        found = await timelines.of(await identity.required(request), generation_id(id))
        return json_answer(_view(found))

    return router


def _view(found: Timeline) -> TimelineView:
    traceparent = found.generation.traceparent
    return TimelineView(
        generation_id=found.generation.id,
        trace_id=traceparent.split("-")[1] if traceparent else None,
        steps=list(map(_step, found.steps)),
        silent=found.silent,
    )


def _step(step: Step) -> StepView:
    moment = step.moment
    return StepView(
        step=step.name,
        by=step.by,
        at=step.at,
        ended_at=moment and moment.ended_at,
        state=moment and moment.state,
        credits=None if moment is None or moment.units is None else in_credits(moment.units),
        provider=moment and moment.provider,
        model=moment and moment.model,
        number=moment and moment.number,
        code=moment and moment.code,
        stream=step.stream,
        sequence=step.sequence,
    )
