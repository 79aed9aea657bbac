"""Patience with what was paid for: it is in this process only until it is kept."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from runtime.consumption import RETRY_IN_PLACE_SECONDS
from runtime.health import is_transient

T = TypeVar("T")
log = structlog.get_logger()


async def insist(action: Callable[[], Awaitable[T]], give_up_at: float) -> T:
    """Repeats an idempotent action while a dependency is away: what was paid for is in this process only.

    Raises:
        Exception: the action's own, where it is no use to wait or the time is over.
    """
    pauses = iter(RETRY_IN_PLACE_SECONDS)
    while True:
        try:
            return await action()
        except Exception as error:
            if not is_transient(error) or time.monotonic() > give_up_at:
                raise
            log.warning("result.waits", error=repr(error))
            await asyncio.sleep(next(pauses, RETRY_IN_PLACE_SECONDS[-1]))
