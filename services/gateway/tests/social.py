"""What the tests of the social frontend share: its routes, a post, and a picture made of it."""

from typing import Any

from .client import Client

PREFIXES = ["/api/social", "/api/ai"]
GENERATE = "/api/social/generate-image"
WRITE = "/api/social/generate-text"
HISTORY = "/api/social/generated-images"
DOWNLOAD = "/api/social/download-image/{}"
POST = "We open our new bakery on Saturday"
IMAGE = {"prompt": POST, "style": "realistic", "count": 4}


async def made(client: Client, **fields: Any) -> Any:
    answer = await client.post(GENERATE, json=IMAGE | {"count": 1} | fields)
    assert answer.status == 200, answer.text
    return answer.json["data"]
