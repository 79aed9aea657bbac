"""What the studio offers: templates, avatars, previews, and what a film would cost."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse
from pydantic import ValidationError

from contracts.facts import Visibility
from gateway.dialects.callers import caller
from gateway.dialects.reelmate import errors, translate
from gateway.dialects.reelmate.avatars import PREVIEWS, ROUTE, TYPES, Avatars
from gateway.dialects.reelmate.fields import Filter, Label, Name, Words, known
from gateway.dialects.reelmate.schemas import (
    AvatarView,
    CostView,
    EstimateCost,
    FromTemplate,
    NewTemplate,
    ScriptView,
    TemplateView,
    Wrapped,
)
from gateway.dialects.reelmate.templates import Templates, filled
from gateway.dialects.surface import Surface, route_class
from gateway.dialects.unsaid import OR_DEFAULT, Form
from gateway.forms import FieldsAndFile
from gateway.identity import Caller
from gateway.refusals import Invalid, NotFound, UnsupportedMedia

PREFIX = "/api/ai-studio"
FILES = ("file", "image", "avatar", "photo")
PREVIEW_SECONDS = 86_400
"""How long a browser need not ask again."""
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["name", "file"],
                    "properties": {
                        "name": {"type": "string", "maxLength": 200},
                        "description": {"type": "string"},
                        "gender": {"type": "string"},
                        "style": {"type": "string"},
                        "file": {"type": "string", "format": "binary", "description": "a picture of a face"},
                    },
                }
            }
        },
    }
}


class AvatarFields(Form):
    name: Name
    description: Words | None = None
    gender: Label | None = None
    style: Label | None = None


def make_router(
    surface: Surface, templates: Templates, avatars: Avatars, documented: dict[int | str, dict[str, Any]]
) -> APIRouter:
    """Templates, avatars and previews."""
    router = APIRouter(prefix=PREFIX, tags=["reelmate"], route_class=route_class(errors.render), responses=documented)

    @router.get("/prompt-templates", summary="Templates of scripts")
    async def listing(
        request: Request,
        category: Filter[Label] = None,
        limit: Annotated[int, Query(ge=1, le=100), OR_DEFAULT] = 50,
        offset: Annotated[int, Query(ge=0, le=100_000), OR_DEFAULT] = 0,
    ) -> Wrapped[list[TemplateView]]:
        """Public ones and your own, the newest first."""
        found = await templates.seen_by(await caller(surface.identity, request), category, limit, offset)
        return Wrapped(data=[*map(translate.template, found)], message=f"{len(found)} templates.")

    @router.post("/prompt-templates", summary="Keep a template", status_code=201)
    async def create(body: NewTemplate, request: Request) -> Wrapped[TemplateView]:
        values = body.model_dump(exclude={"isPublic"}) | {"is_public": body.isPublic}
        made = await templates.create(await caller(surface.identity, request), values)
        return Wrapped(data=translate.template(made), message="The template was kept.")

    @router.post("/script-from-template", summary="Write a script with a template")
    async def script(body: FromTemplate, request: Request) -> Wrapped[ScriptView]:
        """Each use is counted."""
        used = await templates.use(await caller(surface.identity, request), body.templateId)
        words, missing = filled(used.template, body.customText, body.variables)
        view = ScriptView(script=words, templateId=used.id, missing=missing, usageCount=used.usage_count)
        return Wrapped(data=view, message="The script was written.")

    @router.post("/estimate-cost", summary="What a film would cost")
    async def estimate_cost(body: EstimateCost, request: Request) -> Wrapped[CostView]:
        """Nothing is set aside by asking."""
        await caller(surface.identity, request)
        quote = surface.queries.cost(translate.trial(body))
        return Wrapped(data=translate.cost(surface, body, quote), message="This is what it costs at most.")

    @router.get("/avatars", summary="Who is seen in the films")
    async def faces(request: Request) -> Wrapped[list[AvatarView]]:
        """Ours, then your own."""
        found = await avatars.all(await caller(surface.identity, request))
        return Wrapped(data=[translate.avatar(surface, row) for row in found], message=f"{len(found)} avatars.")

    @router.post("/avatars", summary="Bring a face of your own", status_code=201, openapi_extra=_FORM)
    async def bring(request: Request) -> Wrapped[AvatarView]:
        """A picture is an upload of yours, looked at as any other."""
        who = await caller(surface.identity, request)
        return Wrapped(
            data=translate.avatar(surface, await _brought(surface, avatars, who, request)),
            message="The avatar was kept.",
        )

    @router.delete("/avatars/{avatar_id}", summary="Forget a face of your own")
    async def forget(avatar_id: str, request: Request) -> Wrapped[None]:
        """Films in which it was seen stay."""
        await avatars.delete(await caller(surface.identity, request), known(avatar_id, "avatar"))
        return Wrapped(data=None, message="The avatar was deleted.")

    @router.get("/previews/{name}", summary="A preview of an avatar or of a voice", response_class=FileResponse)
    async def preview(name: str) -> FileResponse:
        """For `<img>` and `<audio>`, which send no token."""
        path = PREVIEWS.get(name)
        if path is None:
            raise NotFound("There is no such preview.")
        headers = {"Cache-Control": f"public, max-age={PREVIEW_SECONDS}"}
        return FileResponse(path, media_type=TYPES[path.suffix], headers=headers)

    return router


async def _brought(surface: Surface, avatars: Avatars, who: Caller, request: Request) -> Any:
    """Raises Refusal: nothing is kept then."""
    await avatars.check_room(who)
    form = FieldsAndFile(request, surface.uploads.max_form_bytes, FILES)
    key = request.headers.get("idempotency-key")
    async with surface.uploads.bringing(who, form.file()) as brought:
        if not brought.is_there:
            raise Invalid(f"The form has to have one file, in a part of one of these names: {', '.join(FILES)}.")
        try:
            about = AvatarFields.model_validate(form.fields)
        except ValidationError as error:
            raise RequestValidationError(error.errors()) from error
        asset = await brought.keep(key, ROUTE, Visibility.PUBLIC)  # `<img>` sends no token
        if not asset.mime_type.startswith("image/"):
            raise UnsupportedMedia(f"An avatar is a picture, not {asset.mime_type}.")
        return await avatars.keep(who, asset, about.model_dump())
