"""OpenAI's own SDK against a gateway of ours, unmodified."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from openai import AsyncOpenAI

from .client import Client, token

BASE = "/openai/v1"


@contextlib.asynccontextmanager
async def sdk_of(client: Client, key: str | None = None, **options: Any) -> AsyncIterator[AsyncOpenAI]:
    """The SDK as a program makes it; without a key of ours the user's token is the key."""
    async with AsyncOpenAI(
        api_key=key or token(client.user_id), base_url=f"{client.url}{BASE}", timeout=30, **options
    ) as sdk:
        yield sdk
