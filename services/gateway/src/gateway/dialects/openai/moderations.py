"""OpenAI's moderations: the operator's own rules, and OpenAI's where the deployment has a key of theirs."""

from uuid import uuid4

from fastapi import APIRouter, Request, Response

from contracts.judging import Judgement
from gateway.dialects.openai import errors
from gateway.dialects.openai.answers import ERRORS, json_answer
from gateway.dialects.openai.heading import BASE
from gateway.dialects.openai.schemas import Moderate, Moderated, Verdict
from gateway.dialects.surface import Surface, route_class
from gateway.judging import judge
from gateway.refusals import Invalid

MODEL = "omni-moderation-latest"
CATEGORIES = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
    "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip
RULES = "rules"
"""A category of our own: what the operator forbids; their rules' names are nobody's business."""


def make_router(surface: Surface) -> APIRouter:
    """Moderations."""
    router = APIRouter(prefix=BASE, tags=["openai"], route_class=route_class(errors.render), responses=ERRORS)

    @router.post("/moderations", summary="Ask whether something may be said", response_model=Moderated)
    async def moderate(body: Moderate, request: Request) -> Response:
        """It costs no credits, and counts as a request."""
        who = await surface.identity.required(request)
        texts = _texts(body)
        await surface.commands.rates.admit(who.user_id)
        judgements = await judge(surface.broker, texts)
        return json_answer(Moderated(id=f"modr-{uuid4()}", model=MODEL, results=[*map(_verdict, judgements)]))

    return router


def _texts(body: Moderate) -> list[str]:
    """Parts are judged together, strings each by itself. Raises Invalid."""
    if isinstance(body.input, str):
        return [body.input]
    parts = [part if isinstance(part, str) else part.text for part in body.input]
    said = [part for part in parts if part is not None]
    if len(said) < len(parts):
        message = "Only texts are judged here."
        raise Invalid(message, details={"errors": [{"field": "input", "message": message}]})
    return said if all(isinstance(part, str) for part in body.input) else ["\n".join(said)]


def _verdict(judgement: Judgement) -> Verdict:
    broken = {each.name for each in judgement.categories if each.is_broken}
    broken |= {RULES} if judgement.by == RULES else set()
    scores = {each.name: each.score for each in judgement.categories if each.score is not None}
    names = [*CATEGORIES, *sorted((broken | scores.keys()) - {*CATEGORIES, RULES}), RULES]
    return Verdict(
        flagged=judgement.flagged,
        categories={name: name in broken for name in names},
        category_scores={name: scores.get(name, float(name in broken)) for name in names},
        category_applied_input_types={name: ["text"] for name in names},
    )
