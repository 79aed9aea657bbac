"""The users of the instaveo frontend: profiles, their videos, what they like, and the leaderboard."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import TypeAdapter

from gateway.dialects.instaveo import translate
from gateway.dialects.instaveo.creators import MAX_TOP
from gateway.dialects.instaveo.parts import Parts
from gateway.dialects.instaveo.schemas import ChangeProfile, UserProfile, VideoView
from gateway.dialects.instaveo.videos import Video
from gateway.dialects.unsaid import OR_DEFAULT
from gateway.identity import Caller
from gateway.refusals import NotFound

_PROFILES = TypeAdapter(list[UserProfile])
_VIDEOS = TypeAdapter(list[VideoView])


def add_users(reading: APIRouter, signed: APIRouter, parts: Parts) -> None:
    """Profiles are for those who are signed in."""

    @reading.get("/users/top", summary="The leaderboard", response_model=list[UserProfile])
    async def top(request: Request, limit: Annotated[int, Query(ge=1, le=MAX_TOP), OR_DEFAULT] = 10) -> Response:
        who = await parts.met(request)
        found = translate.leaderboard(await parts.creators.top(limit), who.user_id)
        return Response(_PROFILES.dump_json(found, exclude_none=True), media_type="application/json")

    @reading.get("/users/{user_id:uuid}", summary="Look at a profile", response_model=UserProfile)
    async def show(user_id: UUID, request: Request) -> Response:
        """One's own is made at the first look."""
        who = await parts.met(request)
        found = await parts.creators.get(parts.caller(who).meant(user_id))
        return parts.answer(translate.profile(found, who.user_id))

    @signed.patch("/users/{user_id:uuid}", summary="Change your profile", response_model=UserProfile)
    async def change(user_id: UUID, body: ChangeProfile, request: Request) -> Response:
        who = await parts.met(request)
        _only_oneself(user_id, parts.caller(who))
        has_avatar = "avatarUrl" in body.model_fields_set
        changed = await parts.creators.change(who.user_id, body.username, body.avatarUrl, has_avatar=has_avatar)
        return parts.answer(translate.profile(changed, who.user_id))

    @reading.get("/users/{user_id:uuid}/videos", summary="A user's videos", response_model=list[VideoView])
    async def videos(user_id: UUID, request: Request) -> Response:
        """The newest first: all of one's own, the public ones of others."""
        who = await parts.met(request)
        return _list(parts, await parts.videos.of_user(parts.caller(who).meant(user_id), who.user_id))

    @reading.get("/users/{user_id:uuid}/liked", summary="What you like", response_model=list[VideoView])
    async def liked(user_id: UUID, request: Request) -> Response:
        """The latest like first; what others like is their own affair."""
        who = await parts.met(request)
        _only_oneself(user_id, parts.caller(who))
        return _list(parts, await parts.videos.liked(who.user_id))


def _only_oneself(user_id: UUID, who: Caller) -> None:
    if who.meant(user_id) != who.user_id:
        raise NotFound("There is no such user.")


def _list(parts: Parts, videos: list[Video]) -> Response:
    found = [translate.video_view(parts.surface, parts.settings, video) for video in videos]
    return Response(_VIDEOS.dump_json(found, exclude_none=True), media_type="application/json")
