"""The routes of /v1/webhooks."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request, Response

from gateway.dialects.native import errors
from gateway.dialects.native.answers import Key, json_answer, problems
from gateway.dialects.native.schemas import (
    Deliveries,
    DeliveryView,
    NewWebhook,
    Period,
    Redelivered,
    WebhookChange,
    Webhooks,
    WebhookView,
)
from gateway.dialects.native.translate import delivery_view, generation_id, view, webhook_view
from gateway.dialects.surface import Surface, route_class
from gateway.records import Generation


def data_of(surface: Surface, generation: Generation) -> dict[str, Any]:
    """What a webhook is told of a generation: what `GET /v1/generations/{id}` shows."""
    return view(surface, generation).model_dump(mode="json")


def make_router(surface: Surface) -> APIRouter:
    """Webhooks, over their commands and queries."""
    router = APIRouter(prefix="/v1/webhooks", route_class=route_class(errors.render), tags=["Webhooks"])
    webhooks, identity = surface.webhooks, surface.identity

    @router.post("", status_code=201, response_model=WebhookView, responses=problems(501, has_body=True))
    async def make_webhook(body: NewWebhook, request: Request, idempotency_key: Key = None) -> Response:
        """Says where you want to be told. The answer has the secret that verifies what comes; it is not shown later."""
        made = await webhooks.make(await identity.required(request), body.url, body.events, idempotency_key)
        return json_answer(webhook_view(made), 201, {"Location": f"/v1/webhooks/{made.row.id}"})

    @router.get("", response_model=Webhooks, responses=problems())
    async def list_webhooks(request: Request) -> Response:
        """All of yours."""
        found = await webhooks.all(await identity.required(request))
        return json_answer(Webhooks(items=list(map(webhook_view, found))))

    @router.get("/{id}", response_model=WebhookView, responses=problems(404))
    async def show_webhook(id: str, request: Request) -> Response:  # noqa: A002
        """One of yours."""
        return json_answer(webhook_view(await webhooks.get(await identity.required(request), generation_id(id))))

    @router.patch("/{id}", response_model=WebhookView, responses=problems(404, has_body=True))
    async def change_webhook(id: str, body: WebhookChange, request: Request) -> Response:  # noqa: A002
        """Changes the address or the events, or switches it off and on."""
        caller = await identity.required(request)
        changed = await webhooks.change(caller, generation_id(id), body.url, body.events, body.state)
        return json_answer(webhook_view(changed))

    @router.delete("/{id}", status_code=204, responses=problems(404))
    async def remove_webhook(id: str, request: Request) -> Response:  # noqa: A002
        """Nothing is sent there any more, and its deliveries are forgotten."""
        await webhooks.remove(await identity.required(request), generation_id(id))
        return Response(status_code=204)

    @router.post("/{id}/rotate", response_model=WebhookView, responses=problems(400, 404, 501))
    async def rotate_secret(id: str, request: Request, idempotency_key: Key = None) -> Response:  # noqa: A002
        """A new secret. For a day each message is signed with both."""
        caller = await identity.required(request)
        return json_answer(webhook_view(await webhooks.rotate(caller, generation_id(id), idempotency_key)))

    @router.post("/{id}/test", status_code=202, response_model=DeliveryView, responses=problems(404))
    async def test_webhook(id: str, request: Request) -> Response:  # noqa: A002
        """Sends `webhook.test` once."""
        sent = await webhooks.test(await identity.required(request), generation_id(id))
        return json_answer(delivery_view(sent), 202)

    @router.get("/{id}/deliveries", response_model=Deliveries, responses=problems(404, 422))
    async def list_deliveries(id: str, request: Request, before: UUID | None = None) -> Response:  # noqa: A002
        """What was sent, what is being sent, and what was given up, newest first."""
        found = await webhooks.deliveries(await identity.required(request), generation_id(id), before)
        return json_answer(Deliveries(items=list(map(delivery_view, found))))

    @router.post("/{id}/deliveries/{delivery}/redeliver", status_code=202, responses=problems(404))
    async def redeliver(id: str, delivery: str, request: Request) -> Response:  # noqa: A002
        """Sends one again, under the same id."""
        caller = await identity.required(request)
        await webhooks.redeliver(caller, generation_id(id), generation_id(delivery))
        return Response(status_code=202)

    @router.post("/{id}/redeliver", status_code=202, response_model=Redelivered, responses=problems(404, has_body=True))
    async def redeliver_period(id: str, body: Period, request: Request) -> Response:  # noqa: A002
        """Sends again what was made in a period and is not pending, the oldest first."""
        caller = await identity.required(request)
        sent = await webhooks.redeliver_range(caller, generation_id(id), body.since, body.until, body.after)
        return json_answer(Redelivered(deliveries=sent.deliveries, last=sent.last), 202)

    return router
