"""Between the instaveo frontend and the commands and queries."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

from fastapi import Request

from contracts.facts import Asset, Kind, Verdict, Visibility
from gateway.dialects.instaveo.acceptance import Acceptance
from gateway.dialects.instaveo.creators import Creator
from gateway.dialects.instaveo.feed import FeedPage
from gateway.dialects.instaveo.schemas import FeedView, Link, State, UserProfile, VideoAsset, VideoView
from gateway.dialects.instaveo.videos import Video
from gateway.dialects.surface import Surface, traceparent_of
from gateway.orders import Order
from gateway.refusals import NotFound
from gateway.settings import InstaveoSettings

DIALECT = "instaveo"
DOWNLOAD_SECONDS = 300
SHARE_SECONDS = 24 * 3600
_THUMBNAILS = ("poster", "thumbnail")
"""Variants that may stand for a film, the first that it has."""
_STATES: dict[str, State] = {"pending": "pending", "processing": "processing", "completed": "completed"}
_NO_REASON = {Verdict.CANCELLED: "The video was cancelled.", Verdict.DECLINED: "Not enough credits."}


def order(prompt: str, request: Request, acceptance: Acceptance) -> Order:
    return Order(
        dialect=DIALECT,
        route=request.url.path,
        kind=Kind.VIDEO,
        prompt=prompt,
        idempotency_key=request.headers.get("idempotency-key"),
        traceparent=traceparent_of(request),
        deadline_seconds=deadline_seconds(acceptance.settings),
        beside=acceptance,
    )


def again(order: Order, acceptance: Acceptance) -> Order:
    """The order of a film that is tried again, as one of this dialect."""
    return replace(order, beside=acceptance, deadline_seconds=deadline_seconds(acceptance.settings))


def deadline_seconds(settings: InstaveoSettings) -> int:
    """How long the frontend asks for a film."""
    return settings.video_status_max_polls * settings.video_status_poll_seconds


def video_view(surface: Surface, settings: InstaveoSettings, video: Video) -> VideoView:
    film = video.asset
    thumbnail = _thumbnail(film) if film else None
    return VideoView(
        id=video.id,
        prompt=video.prompt,
        videoUrl=surface.address(film.key, visibility=video.visibility) if film else "",
        thumbnailUrl=surface.address(thumbnail, visibility=video.visibility) if thumbnail else None,
        userId=video.user_id,
        username=video.username,
        likes=video.likes,
        dislikes=video.dislikes,
        views=video.views,
        createdAt=_instant(video.created_at),
        updatedAt=_instant(video.updated_at),
        status=_STATES.get(video.status, "failed"),
        failureReason=_reason(video),
        ranking_score=video.ranking_score,
        rankingScore=video.ranking_score,
        isPublished=video.is_published and video.visibility is Visibility.PUBLIC,
        durationSeconds=_seconds(film) if film else None,
        sourceVideoId=video.source_video_id,
        assets=_assets(surface, settings, video, film) if film else [],
    )


def feed_view(surface: Surface, settings: InstaveoSettings, page: FeedPage) -> FeedView:
    videos = [video_view(surface, settings, video) for video in page.videos]
    return FeedView(videos=videos, nextCursor=page.cursor, hasMore=page.cursor is not None)


def profile(creator: Creator, viewer: UUID, rank: int | None = None) -> UserProfile:
    return UserProfile(
        id=creator.id,
        username=creator.username,
        email=creator.email if creator.id == viewer else "",
        avatarUrl=creator.avatar_url,
        videosCreated=creator.videos_created,
        totalLikes=creator.total_likes,
        totalDislikes=creator.total_dislikes,
        creatorScore=creator.creator_score,
        lastActiveAt=_instant(creator.last_active_at),
        createdAt=_instant(creator.created_at),
        enterprise=creator.is_enterprise,
        rank=rank,
    )


def leaderboard(creators: Sequence[Creator], viewer: UUID) -> list[UserProfile]:
    return [profile(creator, viewer, rank) for rank, creator in enumerate(creators, 1)]


def link(surface: Surface, video: Video, lifetime_seconds: int, *, download: bool) -> Link:
    """A short-lived address of the film. Raises NotFound where it is not completed."""
    film = video.asset
    if film is None:
        raise NotFound("The video is not completed.")
    ends = surface.addresses.key_for(video.visibility) is not None
    return Link(
        url=surface.address(film.key, lifetime_seconds, visibility=video.visibility, download=download),
        expiresAt=_instant(datetime.now(UTC) + timedelta(seconds=lifetime_seconds)) if ends else None,
    )


def _assets(surface: Surface, settings: InstaveoSettings, video: Video, film: Asset) -> list[VideoAsset]:
    thumbnail = _thumbnail(film)
    kept = [_asset(surface, settings, video, film, film.key)]
    return [*kept, _asset(surface, settings, video, film, thumbnail, "thumbnail")] if thumbnail else kept


def _asset(
    surface: Surface, settings: InstaveoSettings, video: Video, film: Asset, key: str, variant: str | None = None
) -> VideoAsset:
    return VideoAsset(
        id=uuid5(film.id, variant) if variant else film.id,
        assetType="thumbnail" if variant else "video",
        storageBackend=settings.media_storage_backend or "local",
        storageKey=key,
        filePath=f"/media/{key}",
        publicUrl=surface.address(key, visibility=video.visibility),
        sourceUrl=None if variant else film.source_url,
        durationSeconds=None if variant else _seconds(film),
        createdAt=_instant(video.completed_at or video.created_at),
        updatedAt=_instant(video.completed_at or video.updated_at),
    )


def _thumbnail(film: Asset) -> str | None:
    return next((film.variants[name] for name in _THUMBNAILS if name in film.variants), None)


def _seconds(film: Asset) -> int | None:
    return None if film.seconds is None else round(film.seconds)


def _reason(video: Video) -> str | None:
    if video.outcome is None or video.status == "completed":
        return None
    ending = video.outcome.data
    return ending.failure.message if ending.failure else _NO_REASON.get(ending.verdict, "The video was not made.")


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
