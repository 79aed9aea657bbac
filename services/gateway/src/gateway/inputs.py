"""What an order starts from. Media of ours is found by storage, whoever names it how, and without HTTP; of what is
elsewhere only the address is kept, for the provider or the guarded client to read.
"""

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit
from uuid import UUID

import structlog
from faststream.nats import NatsBroker
from yarl import URL

from contracts.facts import Input
from contracts.ids import asset_id
from contracts.keeping import FindMedia, FoundMedia, MediaName, NamedMedia
from contracts.media import PATH
from contracts.questions import STORAGE_FIND_MEDIA
from gateway.identity import Caller
from gateway.orders import Order, unfit
from gateway.questions import ask
from gateway.refusals import InputNotFound, Invalid
from gateway.settings import AddressSettings
from runtime.outbound import Allowed, OutboundSettings, Refused, check_url

FILE_PATH = "/api/file/"
"""Where canvases name media by id, for as long as it is kept."""
FIND_SECONDS = 5.0
MAX_URL_CHARACTERS = 4096
_PATHS = (PATH, FILE_PATH)
_PORTS = {"http": 80, "https": 443}
_TYPES = {"audio": "audio", "video": "video"}
"""The type of what a role takes; all others take pictures."""

log = structlog.get_logger()


class Inputs:
    """Finds what orders start from."""

    def __init__(self, broker: NatsBroker, addresses: AddressSettings, outbound: OutboundSettings) -> None:
        self._broker = broker
        self._allowed = Allowed.parse(outbound.outbound_allow)
        bases = {addresses.public_url, addresses.public_media_url, addresses.media_base}
        self._bases = [_place(base.rstrip("/")) for base in bases]

    def named(self, order: Order) -> Order:
        """The order with addresses of ours without host and signature: however one is written, it is the same order.

        Raises:
            Invalid: an address that nobody may be asked to read.
        """
        if not order.inputs:
            return order
        inputs = tuple(self._named(index, given) for index, given in enumerate(order.inputs))
        return replace(order, inputs=inputs)

    async def find(self, caller: Caller, order: Order) -> Order:
        """The order with the caller's assets in place of names and addresses of ours.

        Raises:
            InputNotFound: there is no such media of this caller.
            Invalid: it is of another kind than its role.
            Unavailable: storage does not answer. Nothing has changed.
        """
        names = [_names(given) for given in order.inputs]
        wanted = [name for each in names for name in each]
        if not wanted:
            return order
        found = iter(await self._ask(caller, wanted))
        media = [[next(found) for _ in each] for each in names]
        inputs = [
            _resolved(index, given, next(filter(None, each), None)) if each else given
            for index, (given, each) in enumerate(zip(order.inputs, media, strict=True))
        ]
        return replace(order, inputs=tuple(inputs))

    def _named(self, index: int, given: Input) -> Input:
        if given.url is None:
            return given
        place = f"inputs.{index}.url"
        if len(given.url) > MAX_URL_CHARACTERS:
            raise _invalid(place, f"at most {MAX_URL_CHARACTERS} characters")
        if (problem := unfit(given.url)) is not None:
            raise _invalid(place, problem)
        path = self._path(given.url)
        if path is not None:
            return given.model_copy(update={"url": path})
        try:
            check_url(URL(given.url), self._allowed)
        except Refused as error:
            raise _invalid(place, str(error)) from error
        except ValueError as error:
            raise _invalid(place, "not an address") from error
        return given

    def _path(self, url: str) -> str | None:
        """Where media is served, of an address of ours; None for every other address."""
        if url.startswith(_PATHS):
            return urlsplit(url).path
        try:
            host, port, path = _place(url)
        except ValueError:
            return None
        for base_host, base_port, base_path in self._bases:
            ours = path.removeprefix(base_path) if path.startswith(base_path) else ""
            if (host, port) == (base_host, base_port) and ours.startswith(_PATHS):
                return ours
        return None

    async def _ask(self, caller: Caller, names: Sequence[MediaName]) -> Sequence[NamedMedia | None]:
        question = FindMedia(user_id=caller.user_id, names=tuple(names))
        silence = "What this starts from cannot be looked for right now. Nothing was recorded; try again."
        found = await ask(self._broker, STORAGE_FIND_MEDIA, question, FoundMedia, FIND_SECONDS, silence)
        media = found.media
        return [*media, *[None] * (len(names) - len(media))]


def _place(url: str) -> tuple[str, int | None, str]:
    """Host, port and path. Raises ValueError."""
    parts = urlsplit(url)
    return (parts.hostname or "").rstrip("."), parts.port or _PORTS.get(parts.scheme), parts.path


def _names(given: Input) -> list[MediaName]:
    """What storage may know it by; nothing of what is elsewhere."""
    if given.asset_id is not None:
        return [MediaName(asset_id=given.asset_id)]
    if given.url is None or not given.url.startswith(_PATHS):
        return []
    try:
        identity = UUID(given.url.removeprefix(FILE_PATH))
    except ValueError:
        return [MediaName(key=given.url.removeprefix(PATH)[:200])]
    # A file that was made has its asset's id, one that was brought its upload's.
    return [MediaName(asset_id=identity), MediaName(asset_id=asset_id(identity, 0))]


def _resolved(index: int, given: Input, media: NamedMedia | None) -> Input:
    if media is None:
        message = "There is no such media of yours."
        details: dict[str, object] = {"errors": [{"field": f"inputs.{index}", "message": message}]}
        raise InputNotFound(message, details=details)
    wanted = _TYPES.get(given.role, "image")
    if media.mime_type.partition("/")[0] != wanted:
        raise _invalid(f"inputs.{index}", f"{given.role} is of type {wanted}, not {media.mime_type}")
    variant = media.variant or given.variant
    return Input(
        role=given.role,
        asset_id=media.asset_id,
        variant=variant,
        seconds=media.seconds,
        mime_type=media.mime_type,
    )


def _invalid(place: str, message: str) -> Invalid:
    return Invalid(f"{place}: {message}", details={"errors": [{"field": place, "message": message}]})
