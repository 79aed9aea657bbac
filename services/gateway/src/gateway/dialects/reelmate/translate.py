"""Between the reelmate frontend and the commands and queries."""

from collections.abc import Sequence

from fastapi import Request

from contracts.facts import Asset, Kind, Lane, Visibility
from contracts.money import Quote, in_credits
from gateway.batches import Batch
from gateway.dialects.reelmate.avatars import picture
from gateway.dialects.reelmate.counts import rate
from gateway.dialects.reelmate.films import (
    DIALECT,
    MODEL,
    error_of,
    estimate,
    film_of,
    quality_of,
    size_of,
    state_of,
)
from gateway.dialects.reelmate.schemas import (
    AvatarView,
    CostView,
    Day,
    EstimateCost,
    GenerateBatch,
    GenerateVideo,
    JobBatchView,
    JobView,
    OutputView,
    Overview,
    OverviewAnswer,
    StatusView,
    TemplateView,
    VideoView,
    VoiceView,
)
from gateway.dialects.surface import Surface, traceparent_of
from gateway.identity import Caller
from gateway.orders import Order
from gateway.records import Generation
from runtime.database import Row

PREVIEWS = "/api/ai-studio/previews/"
JOB_TYPE = "avatar_video"
USUAL_SECONDS = 180
"""How long a film takes where its model is not offered any more."""
_THUMBNAILS = ("poster", "thumbnail")
"""Variants that may stand for a film, the first that it has."""


def order(
    body: GenerateVideo | GenerateBatch, script: str, caller: Caller, avatar: Row, voice: Row, request: Request
) -> Order:
    settings = body.generationSettings
    quality = quality_of(settings.quality)
    captions = {} if settings.captions is None else {"captions": settings.captions}
    speaker = {"voice_provider": voice.voice_provider} if voice.voice_provider else {}
    return Order(
        dialect=DIALECT,
        route=request.url.path,
        kind=Kind.VIDEO,
        prompt=script,
        model=MODEL,
        size=size_of(quality, settings.aspectRatio),
        inputs=(picture(caller, avatar),),
        options={"voice": voice.voice, "quality": quality, **speaker, **captions},
        remarks={
            "avatar_id": str(body.avatarId),
            "voice_id": str(body.voiceId),
            "campaign_id": str(body.campaignId) if body.campaignId else None,
            "settings": settings.model_dump(mode="json", exclude_none=True),
        },
        lane=Lane.BATCH if isinstance(body, GenerateBatch) else Lane.INTERACTIVE,
        idempotency_key=request.headers.get("idempotency-key"),
        traceparent=traceparent_of(request),
    )


def trial(body: EstimateCost) -> Order:
    """An order that costs as much: what it is of makes no difference."""
    quality = quality_of(body.quality)
    return Order(
        dialect=DIALECT,
        route="",
        kind=Kind.VIDEO,
        prompt="x",
        model=MODEL,
        size=size_of(quality, "9:16"),
        seconds=body.duration,
        options={"quality": quality},
    )


def cost(surface: Surface, body: EstimateCost, quote: Quote) -> CostView:
    amount = in_credits(quote.amount)
    return CostView(
        jobType=body.jobType,
        duration=body.duration,
        quality=quality_of(body.quality),
        estimatedCost=amount,
        credits=amount,
        priceUsd=round(amount * float(surface.credit_price), 4),
    )


def job(surface: Surface, generation: Generation) -> JobView:
    remarks, film = generation.remarks, film_of(generation)
    ended_at = generation.completed_at
    return JobView(
        id=generation.id,
        user_id=generation.user_id,
        campaign_id=remarks.get("campaign_id"),
        batch_id=generation.batch_id,
        job_type=JOB_TYPE,
        status=state_of(generation),
        script=generation.prompt,
        avatar_id=remarks.get("avatar_id"),
        voice_id=remarks.get("voice_id"),
        generation_settings=remarks.get("settings", {}),
        progress=estimate(generation, _usual_seconds(surface, generation)).progress,
        estimated_cost=in_credits(generation.quote.amount),
        actual_cost=in_credits(generation.cost) if generation.is_final else None,
        video_url=_address(surface, generation, film.key) if film else None,
        error_message=error_of(generation),
        created_at=generation.created_at,
        updated_at=ended_at or generation.created_at,
        completed_at=ended_at,
    )


def batch(surface: Surface, made: Batch) -> JobBatchView:
    jobs = [job(surface, each) for each in made.generations]
    return JobBatchView(batchId=made.id, total=len(jobs), jobs=jobs)


def status(surface: Surface, generation: Generation) -> StatusView:
    film = film_of(generation)
    guess = estimate(generation, _usual_seconds(surface, generation))
    return StatusView(
        id=generation.id,
        status=state_of(generation),
        progress=guess.progress,
        estimatedTimeRemaining=guess.remaining_seconds,
        output=_output(surface, generation, film) if film else None,
        error=error_of(generation),
    )


def video(surface: Surface, generation: Generation, film: Asset) -> VideoView:
    remarks = generation.remarks
    return VideoView(
        id=generation.id,
        job_id=generation.id,
        user_id=generation.user_id,
        campaign_id=remarks.get("campaign_id"),
        script=generation.prompt,
        avatar_id=remarks.get("avatar_id"),
        voice_id=remarks.get("voice_id"),
        video_url=_address(surface, generation, film.key),
        thumbnail_url=_thumbnail(surface, generation, film),
        duration=film.seconds,
        file_size=film.size_bytes,
        resolution=f"{film.width}x{film.height}",
        format=film.mime_type.partition("/")[2],
        cost=in_credits(generation.cost),
        created_at=generation.completed_at or generation.created_at,
    )


def avatar(surface: Surface, row: Row) -> AvatarView:
    if row.preview is not None:
        image = small = _preview(surface, row.preview)
    else:
        # Taken so that everybody may see it: `<img>` sends no token.
        image = surface.address(row.asset_key, visibility=Visibility.PUBLIC)
        small = surface.address(row.thumbnail_key or row.asset_key, visibility=Visibility.PUBLIC)
    shown = {"image_url": image, "thumbnail_url": small, "preview_url": small, "is_custom": row.user_id is not None}
    return AvatarView.model_validate(dict(row) | shown)


def voice(surface: Surface, row: Row) -> VoiceView:
    heard = _preview(surface, row.preview) if row.preview is not None else None
    shown = {"provider_voice_id": row.voice, "preview_url": heard, "sample_url": heard}
    shown["is_custom"] = row.user_id is not None
    return VoiceView.model_validate(dict(row) | shown)


def template(row: Row) -> TemplateView:
    return TemplateView.model_validate(dict(row))


def overview(counted: Row, numbers: Row, days: Sequence[Row]) -> OverviewAnswer:
    views, plays, completions = counted.views or 0, counted.plays or 0, counted.completions or 0
    return OverviewAnswer(
        overview=Overview(
            totalViews=views,
            avgCtr=rate(plays, views),
            totalPlays=plays,
            totalCompletions=completions,
            totalDownloads=counted.downloads or 0,
            totalShares=counted.shares or 0,
            completionRate=rate(completions, plays),
            totalVideos=numbers.videos,
            totalCampaigns=numbers.campaigns,
            activeCampaigns=numbers.active,
        ),
        days=days_of(days),
    )


def days_of(rows: Sequence[Row]) -> list[Day]:
    return [Day.model_validate(dict(row)) for row in rows]


def _usual_seconds(surface: Surface, generation: Generation) -> int:
    offered = (model for model, _ in surface.queries.models(Kind.VIDEO))
    return next((model.p99_seconds for model in offered if model.id == generation.model), USUAL_SECONDS)


def _output(surface: Surface, generation: Generation, film: Asset) -> OutputView:
    return OutputView(
        videoUrl=_address(surface, generation, film.key),
        thumbnailUrl=_thumbnail(surface, generation, film),
        duration=film.seconds,
        cost=in_credits(generation.cost),
    )


def _thumbnail(surface: Surface, generation: Generation, film: Asset) -> str | None:
    key = next((film.variants[name] for name in _THUMBNAILS if name in film.variants), None)
    return _address(surface, generation, key) if key else None


def _address(surface: Surface, generation: Generation, key: str) -> str:
    return surface.address(key, visibility=generation.visibility)


def _preview(surface: Surface, name: str) -> str:
    return f"{surface.addresses.public_url.rstrip('/')}{PREVIEWS}{name}"
