"""What is asked of storage: files that users bring, what they have stored, what is kept for how long, and bytes."""

from uuid import UUID

from pydantic import AwareDatetime, Field

from contracts.facts import Asset, Failure, Visibility
from contracts.model import Frozen

MAX_NAMES = 64
"""In one question."""
LENT_SECONDS = 12 * 3600
"""Half of what the claims bucket keeps: what was lent before is lent again."""


class TakeUpload(Frozen):
    """Make an asset of what a user uploaded. Asked again, the same upload is the same asset."""

    upload_id: UUID
    user_id: UUID
    claim: str | None = None
    """The name of an object in the claims bucket. Without one it went into the bucket that was offered."""
    sha256: str | None = None
    """Of that object, in hexadecimal; where it is not said, another file counts as the same upload."""
    visibility: Visibility = Visibility.PUBLIC
    """Of an upload that is new; what was taken once stays as it was."""


class TakenUpload(Frozen):
    """Exactly one is set. A failure's code is `unsupported_media`, `unusable_media`, `too_large`, `not_clean`,
    `quota_exceeded`, `not_found`, `another_file` or `unavailable`; only after the last is it of use to ask again."""

    asset: Asset | None = None
    failure: Failure | None = None
    visibility: Visibility = Visibility.PUBLIC
    """Who may look at the asset."""
    is_new: bool = False
    """Before this question it was not there."""


class OfferUpload(Frozen):
    """Where may this user's browser put a file of this type, at most so long, by itself?"""

    upload_id: UUID
    user_id: UUID
    mime_type: str
    size_bytes: int = Field(ge=1)


class OfferedUpload(Frozen):
    """A form to be posted, its fields first and the file as `file`; `failure` where there is no such place."""

    url: str | None = None
    fields: dict[str, str] = {}
    expires_at: AwareDatetime | None = None
    failure: Failure | None = None


class MediaName(Frozen):
    """A stored media object as a client names it. Exactly one is set."""

    asset_id: UUID | None = None
    key: str | None = Field(default=None, max_length=200)
    """Where it is served below `/media/`; a variant's key as well."""


class FindMedia(Frozen):
    """Which media of this user's is meant by these names?"""

    user_id: UUID
    names: tuple[MediaName, ...] = Field(max_length=MAX_NAMES)


class NamedMedia(Frozen):
    """What a name stands for."""

    asset_id: UUID
    variant: str | None = None
    """None is the original."""
    mime_type: str
    size_bytes: int
    """Of the original."""
    seconds: float | None = None
    """How long it plays."""


class FoundMedia(Frozen):
    """In the order of the names. None is what is not there, is deleted, or is somebody else's."""

    media: tuple[NamedMedia | None, ...]


class Lend(Frozen):
    """Put the bytes of a user's asset into the claims bucket, where they are at least `LENT_SECONDS` from now."""

    user_id: UUID
    asset_id: UUID
    variant: str | None = None
    max_bytes: int = Field(ge=0)


class Lent(Frozen):
    """Where the bytes are, or why they are not: `input_not_found`, `too_large`, or `unavailable`, after which alone it
    is of use to ask again."""

    claim: str | None = None
    mime_type: str | None = None
    failure: Failure | None = None


class StoredBy(Frozen):
    user_id: UUID


class Stored(Frozen):
    """What a user has stored. None is no limit."""

    assets: int
    used_bytes: int
    quota_bytes: int | None = None
    retention_days: int | None = None


class Keep(Frozen):
    """A user's plan, as storage needs to know it; None stands for what holds for everybody."""

    user_id: UUID
    quota_bytes: int | None = Field(default=None, ge=0)
    retention_days: int | None = Field(default=None, ge=1)


class Delete(Frozen):
    """A user deletes the assets of a generation, or what an upload has become. Exactly one is set.

    Deleted assets are not served from now on; some days later their bytes go.
    """

    user_id: UUID
    generation_id: UUID | None = None
    asset_id: UUID | None = None
    """Of an upload; what a generation made is deleted with it."""


class Show(Frozen):
    """From now on the assets of a generation are shown to everybody who has their address, or to their owner alone."""

    user_id: UUID
    generation_id: UUID
    visibility: Visibility


class Forget(Frozen):
    """A user's assets go for good, now."""

    user_id: UUID


class ReuseAssets(Frozen):
    """Make the assets of an earlier generation those of a new one as well, all of them or none.

    Asked again, the same. Whatever becomes of the earlier ones later, the new ones stay.
    """

    user_id: UUID
    generation_id: UUID
    earlier_id: UUID
    count: int = Field(ge=1)
    """How many there have to be."""
    visibility: Visibility = Visibility.PUBLIC
    """Of the new ones, whatever that of the earlier ones is."""


class ChangedAssets(Frozen):
    """How many assets it was about."""

    assets: int
