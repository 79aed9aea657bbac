"""What is asked of the generator about what is made elsewhere: where a result is now, and what a renderer made."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from contracts.model import Frozen


class FreshAddressOf(Frozen):
    """Output `index` of a generation cannot be fetched any more: where is it now?"""

    generation_id: UUID
    index: int = Field(ge=0)


class FreshAddress(Frozen):
    """Where the provider keeps it today; None where it keeps it no more, or gives no address twice."""

    url: str | None = None


class TakeResult(Frozen):
    """An outside renderer has made the one output of a generation; whoever asks has checked that it may say so."""

    generation_id: UUID
    url: str
    """Where it is; storage fetches it as it fetches from providers."""


class TakenResult(Frozen):
    """`taken`, also when it was taken before; `finished` otherwise; `unknown` where nothing waits for a result yet."""

    state: Literal["taken", "finished", "unknown"]


class LookAtTask(Frozen):
    """A client believes that a generation is made by a task with these names, and asks to have it looked at."""

    generation_id: UUID
    names: tuple[str, ...]


class LookedAtTask(Frozen):
    """Whether it is. If so, its provider is asked at once where it is followed."""

    is_known: bool
