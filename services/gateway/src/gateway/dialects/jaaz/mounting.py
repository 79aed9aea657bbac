"""All of the dialect, put together."""

from fastapi import APIRouter
from pydantic import SecretStr

from gateway.beginnings import together
from gateway.dialects.jaaz import account, client, client_account, device_page, device_routes, functions, live, router
from gateway.dialects.jaaz.answers import Desk
from gateway.dialects.jaaz.devices import Devices

CANVAS_BYTES = 32 << 20
"""Of a canvas as it is sent, with its files embedded."""
LARGER_BODIES = dict.fromkeys(("/api/v1/canvases", "/api/v1/canvases/", "/api/canvas/", "/api/chat"), CANVAS_BYTES)
UPLOADS = (account.UPLOAD, client_account.UPLOAD)


def make_router(desk: Desk, session_secret: SecretStr | None) -> APIRouter:
    """Its routes; its events are put on the sockets."""
    surface = desk.surface
    live.register(desk)
    devices = Devices(surface.database, surface.commands.rates)
    return together(
        *(part.make_router(desk) for part in (router, account, client, client_account, functions)),
        device_routes.make_router(desk, devices),
        device_page.make_router(surface, devices, session_secret),
    )
