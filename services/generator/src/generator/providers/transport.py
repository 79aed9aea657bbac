"""The HTTP of the `openai` SDK over our guarded aiohttp session, at a third of the CPU of its own transport.

Errors say what matters about a paid call: `ConnectError` and `ConnectTimeout` mean that no byte of the request left,
every other `httpx2.TransportError` that it may have arrived.
"""

from collections.abc import Mapping
from typing import Any

import aiohttp
import httpx2

from runtime.outbound import Refused

MAX_ANSWER_BYTES = 96 * 1024 * 1024
"""Four pictures of 16 MiB in base64, and room."""
_OURS = frozenset({"host", "connection", "accept-encoding", "content-length", "transfer-encoding"})
_UNDONE = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})
"""About the body as it travelled; aiohttp has undone them."""


class AiohttpTransport(httpx2.AsyncBaseTransport):
    """Sends with a session that somebody else owns. Redirects are answers: a paid call goes where it was sent."""

    def __init__(self, session: aiohttp.ClientSession, max_answer_bytes: int = MAX_ANSWER_BYTES) -> None:
        self._session = session
        self._max_answer_bytes = max_answer_bytes

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        body = await request.aread()
        headers = {name: value for name, value in request.headers.items() if name not in _OURS}
        try:
            async with self._session.request(
                request.method,
                str(request.url),
                headers=headers,
                data=body,
                allow_redirects=False,
                timeout=_timeout(request.extensions.get("timeout", {})),
            ) as response:
                content = await self._read(response)
                kept = [pair for pair in response.raw_headers if pair[0].lower() not in _UNDONE]
                return httpx2.Response(response.status, headers=kept, content=content, request=request)
        except Refused as error:
            raise httpx2.ConnectError(str(error), request=request) from error
        except aiohttp.ConnectionTimeoutError as error:
            raise httpx2.ConnectTimeout("no connection in time", request=request) from error
        except (aiohttp.ClientConnectorError, aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise httpx2.ConnectError(type(error).__name__, request=request) from error
        except TimeoutError as error:
            raise httpx2.ReadTimeout("no answer in time", request=request) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # ValueError: what aiohttp's parser says of some malformed answers
            raise httpx2.ReadError(type(error).__name__, request=request) from error

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        chunks: list[bytes] = []
        received = 0
        async for chunk in response.content.iter_any():
            received += len(chunk)
            if received > self._max_answer_bytes:
                raise httpx2.ReadError(f"an answer of more than {self._max_answer_bytes} bytes")
            chunks.append(chunk)
        return b"".join(chunks)


def _timeout(extension: Mapping[str, Any]) -> aiohttp.ClientTimeout:
    """httpx2's `read` is taken as the limit of the whole call: a drip must not keep it alive."""
    return aiohttp.ClientTimeout(total=extension.get("read"), sock_connect=extension.get("connect"))
