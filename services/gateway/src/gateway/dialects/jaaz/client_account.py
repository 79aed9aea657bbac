"""The routes that the real client calls about configuration, settings, money and files."""

from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from contracts.facts import Visibility
from gateway.dialects.jaaz import errors, translate
from gateway.dialects.jaaz.answers import FORM, Desk
from gateway.dialects.jaaz.client import ERRORS
from gateway.dialects.jaaz.client_schemas import Amount, Exists, Status, UploadedImage
from gateway.dialects.jaaz.schemas import Document, ProviderConfig
from gateway.dialects.jaaz.tools import toolbox
from gateway.dialects.surface import route_class
from gateway.refusals import NotFound

UPLOAD = "/api/upload_image"


def make_router(desk: Desk) -> APIRouter:
    """What belongs to a user, as the client asks for it."""
    router = APIRouter(prefix="/api", tags=["jaaz"], route_class=route_class(errors.render_client), responses=ERRORS)
    surface, configs, files = desk.surface, desk.configs, desk.files

    @router.get("/config", summary="The configuration of each provider")
    async def read_config(request: Request) -> dict[str, Document]:
        return await configs.read(await desk.who(request))

    @router.post("/config", summary="Configure each provider")
    async def write_config(body: dict[str, ProviderConfig], request: Request) -> Status:
        await configs.write(await desk.who(request), translate.wishes(body))
        return Status(status="success", message="Configuration updated")

    @router.get("/config/exists", summary="Whether anything is configured")
    async def config_exists(request: Request) -> Exists:
        return Exists(exists=await configs.is_set(await desk.who(request)))

    @router.get("/list_models", summary="The models, as a list")
    async def models(request: Request) -> list[Document]:
        await desk.who(request)
        return [
            {"provider": model.provider, "model": model.id, "type": model.kind.value, "url": ""}
            for model, _ in surface.queries.models()
        ]

    @router.get("/list_tools", summary="What draws and films, as a list")
    async def tools(request: Request) -> list[Document]:
        """Those that a model may call for while it talks about a canvas."""
        await desk.who(request)
        offered = toolbox([model for model, _ in surface.queries.models()], None).models
        return [
            {"provider": model.provider, "id": model.id, "display_name": model.id, "type": model.kind.value}
            for model in offered
        ]

    @router.get("/settings", summary="The settings")
    async def read_settings(request: Request) -> Document:
        return await configs.settings(await desk.who(request))

    @router.post("/settings", summary="Set some settings")
    async def write_settings(body: Document, request: Request) -> Status:
        await configs.set(await desk.who(request), body)
        return Status(status="success", message="Settings updated")

    @router.get("/settings/exists", summary="Whether there are any settings")
    async def settings_exist(request: Request) -> Exists:
        return Exists(exists=bool(await configs.settings(await desk.who(request))))

    @router.get("/billing/getBalance", summary="What the credits are worth, as a text")
    async def balance(request: Request) -> Amount:
        found = await surface.queries.balance(await desk.who(request))
        return Amount(balance=f"{translate.balance(found, surface.credit_price).balance:.2f}")

    @router.post("/upload_image", summary="Bring a picture", openapi_extra=FORM)
    async def upload(request: Request) -> UploadedImage:
        who, key = await desk.who(request), request.headers.get("idempotency-key")
        file = await files.take_sent(who, request, key)
        url = surface.address(file.key, visibility=file.visibility)
        return UploadedImage(file_id=str(file.id), url=url, width=file.width, height=file.height)

    @router.get("/file/{file_id}", summary="Look at a file", status_code=307, responses={200: {"description": "OK"}})
    async def show(file_id: str, request: Request) -> Response:
        """For `<img>`, which sends no token: the id is as hard to guess as an address of media. What is its
        owner's alone opens with the owner's token."""
        file = await files.at(_id(file_id))
        if file.visibility is Visibility.OWNER and (await desk.who(request)).user_id != file.user_id:
            raise NotFound("There is no such file.")
        return RedirectResponse(surface.address(file.key, visibility=file.visibility), 307)

    @router.delete("/file/{file_id}", summary="Delete a file that you brought", status_code=204)
    async def delete(file_id: str, request: Request) -> Response:
        """Canvases in which it stands show it no more."""
        await files.delete(await desk.who(request), _id(file_id))
        return Response(status_code=204)

    return router


def _id(text: str) -> UUID:
    """Raises NotFound."""
    try:
        return UUID(text)
    except ValueError as error:
        raise NotFound("There is no such file.") from error
