"""The routes of /v1/operator: for tokens whose issuer says that they are an operator's, and for nobody else."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from contracts.questions import ListedModel
from contracts.watching import MAX_WATCHED_MINUTES
from gateway.dialects.native import errors
from gateway.dialects.native.answers import json_answer, problems
from gateway.dialects.native.operator_schemas import (
    HouseView,
    Letters,
    LetterView,
    OperatedModel,
    OperatedModels,
    Switch,
)
from gateway.dialects.native.operator_translate import house_view, letter_view
from gateway.dialects.surface import Surface, route_class
from gateway.operating import Operating

MAX_MODEL_CHARACTERS = 200
Sequence = Annotated[int, Path(ge=1, le=2**53)]


def make_router(surface: Surface) -> APIRouter:
    """How the house stands, models on and off, dead letters."""
    router = APIRouter(prefix="/v1/operator", route_class=route_class(errors.render), tags=["Operator"])
    operating, identity = Operating(surface.database, surface.broker, surface.commands), surface.identity

    @router.get("/house", summary="See how the house stands", response_model=HouseView, responses=problems(422))
    async def house(request: Request, minutes: Annotated[int, Query(ge=1, le=MAX_WATCHED_MINUTES)] = 60) -> Response:
        """Now, and over the last minutes."""
        await identity.operator(request)
        return json_answer(house_view(await operating.house(minutes), minutes, surface.credit_price))

    @router.get("/models", summary="List every model", response_model=OperatedModels, responses=problems())
    async def models(request: Request) -> Response:
        """Also those that are switched off, or have no key."""
        await identity.operator(request)
        return json_answer(OperatedModels(items=list(map(_model, await operating.models()))))

    @router.put(
        "/models/{id}",
        summary="Switch a model off or on",
        response_model=OperatedModel,
        responses=problems(has_body=True),
    )
    async def switch(
        id: Annotated[str, Path(max_length=MAX_MODEL_CHARACTERS)],  # noqa: A002
        body: Switch,
        request: Request,
    ) -> Response:
        """Off: nothing is begun with it from now on, and what was begun is carried out."""
        await identity.operator(request)
        return json_answer(_model(await operating.switch(id, on=body.on)))

    @router.get("/letters", summary="List the dead letters", response_model=Letters, responses=problems(422))
    async def letters(request: Request, after: Annotated[int, Query(ge=0, le=2**53)] = 0) -> Response:
        """Facts that no consumer could handle, the oldest first."""
        await identity.operator(request)
        return json_answer(Letters(items=list(map(letter_view, await operating.letters(after)))))

    @router.post(
        "/letters/{sequence}/replay",
        summary="Drive a dead letter's generation",
        response_model=LetterView,
        responses=problems(404, 409, 422),
    )
    async def replay(sequence: Sequence, request: Request) -> Response:
        """Every service says its part again, which is harmless, or an outcome that the log holds already is recorded;
        then the letter is forgotten."""
        await identity.operator(request)
        return json_answer(letter_view(await operating.replay(sequence)))

    @router.delete("/letters/{sequence}", status_code=204, summary="Forget a dead letter", responses=problems(404, 422))
    async def drop(sequence: Sequence, request: Request) -> Response:
        await identity.operator(request)
        await operating.drop(sequence)
        return Response(status_code=204)

    return router


def _model(listed: ListedModel) -> OperatedModel:
    model = listed.model
    return OperatedModel(
        id=model.id,
        kind=model.kind,
        provider=model.provider,
        provider_model=listed.provider_model,
        state=model.state,
        successor=model.successor,
        has_key=listed.has_key,
    )
