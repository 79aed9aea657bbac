"""What the routes of instaveo share: its queries and commands, who asks and how fast, and how an answer is written."""

from uuid import UUID

from fastapi import Request, Response
from pydantic import BaseModel

from gateway.dialects.instaveo import translate
from gateway.dialects.instaveo.acceptance import Acceptance
from gateway.dialects.instaveo.creators import Creators
from gateway.dialects.instaveo.feed import Feed
from gateway.dialects.instaveo.interactions import Interactions
from gateway.dialects.instaveo.renderer import Renderer
from gateway.dialects.instaveo.schemas import SyncStatus
from gateway.dialects.instaveo.signing import Signatures
from gateway.dialects.instaveo.videos import Video, Videos
from gateway.dialects.instaveo.who import Who, anybody, member, session_of
from gateway.dialects.surface import Surface
from gateway.identity import Caller
from gateway.orders import Order
from gateway.rates import Limit
from gateway.records import Generation
from gateway.settings import InstaveoSettings

REACTIONS_PER_MINUTE = 120
"""Of one user, or one session, and process: likes, dislikes and views together."""


class Parts:
    """Put together once, for all routes."""

    def __init__(self, surface: Surface, settings: InstaveoSettings) -> None:
        self.surface = surface
        self.settings = settings
        self.signatures = Signatures(settings)
        self.videos = Videos(surface.database, surface.commands, surface.broker)
        self.feed = Feed(surface.database)
        self.interactions = Interactions(surface.database)
        self.creators = Creators(surface.database)
        self.renderer = Renderer(surface.database, surface.broker, settings.video_callback_secret)
        surface.commands.repeats.of_dialect[translate.DIALECT] = self.again

    async def met(self, request: Request) -> Who:
        """Whoever is signed in, with a profile. Raises Unauthenticated."""
        who = await member(self.surface.identity, request)
        await self.creators.meet(who)
        return who

    async def paced(self, request: Request) -> Who:
        """The same, who has not reacted too often. Raises TooManyRequests."""
        who = await self.met(request)
        await self._pace(who.user_id)
        return who

    async def viewing(self, request: Request) -> tuple[UUID | None, str]:
        """Who looks: a user, or nobody in a session. Raises TooManyRequests."""
        user_id = await anybody(self.surface.identity, request)
        session = session_of(self.surface.identity, request, await self.interactions.session_key())
        await self._pace(user_id or UUID(session))
        return user_id, session

    async def _pace(self, reacting: UUID) -> None:
        limit = Limit(f"reactions of {reacting}", REACTIONS_PER_MINUTE, what="reactions")
        await self.surface.commands.rates.take(limit)

    async def look_at(self, video: Video, said: SyncStatus | None) -> None:
        """Has the provider asked, where the client names its task. Raises NotFound for another one's, Unavailable."""
        names = (said.operationName, said.sceneId) if said else ()
        named = tuple(name for name in names if name)
        if named and video.outcome is None:
            await self.renderer.look(video.id, named)

    async def again(self, caller: Caller, generation: Generation, order: Order) -> Order:
        """A film that is tried again is a new video, of what the first one was made of. Raises NotFound."""
        video = await self.videos.own(generation.id, caller.user_id)
        return translate.again(order, Acceptance(self.settings, caller.user_id, None, video.source_video_id))

    def caller(self, who: Who) -> Caller:
        return Caller(who.user_id, key=who.key, alias=who.alias)

    def video(self, video: Video, status: int = 200) -> Response:
        return self.answer(translate.video_view(self.surface, self.settings, video), status)

    def answer(self, body: BaseModel, status: int = 200) -> Response:
        """What is not there is left out: `thumbnailUrl?`, `nextCursor?`."""
        return Response(body.model_dump_json(exclude_none=True), status, media_type="application/json")
