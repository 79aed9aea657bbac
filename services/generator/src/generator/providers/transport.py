"""The HTTP of the `openai` and `anthropic` SDKs over our guarded aiohttp session, at a third of the CPU of their own.

Errors say what matters about a paid call: `ConnectError` and `ConnectTimeout` mean that no byte of the request left,
every other `httpx2.TransportError` that it may have arrived.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import aiohttp
import httpx2

from runtime.outbound import Refused

MAX_ANSWER_BYTES = 96 * 1024 * 1024
"""Four pictures of 16 MiB in base64, and room."""
PARSED_ADDRESSES = 128
_OURS = frozenset({"host", "connection", "accept-encoding", "content-length", "transfer-encoding"})
_UNDONE = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})
"""About the body as it travelled; aiohttp has undone them."""


class AiohttpClient(httpx2.AsyncClient):
    """Sends with a session that somebody else owns, and hands back what came.

    Nothing stands between the two: no redirects, since a paid call goes where it was sent, no cookies, no proxy, no
    headers but the SDK's. httpx2's own way with all of these was a fifth of what the SDK costs.
    """

    def __init__(self, session: aiohttp.ClientSession, max_answer_bytes: int = MAX_ANSWER_BYTES) -> None:
        super().__init__(transport=httpx2.AsyncBaseTransport(), trust_env=False)
        self._session = session
        self._max_answer_bytes = max_answer_bytes

    def build_request(
        self,
        method: str,
        url: httpx2.URL | str,
        *,
        timeout: Any = None,
        extensions: Mapping[str, Any] | None = None,
        **parts: Any,
    ) -> httpx2.Request:
        limits = {"timeout": httpx2.Timeout(timeout).as_dict()}
        return httpx2.Request(method, _parsed(url), extensions={**(extensions or {}), **limits}, **parts)

    async def send(self, request: httpx2.Request, *, stream: bool = False, **_: Any) -> httpx2.Response:
        """The body is read when it is asked for where it is a stream, so that it can be heard as it grows."""
        body = await request.aread()
        headers = {name: value for name, value in request.headers.items() if name not in _OURS}
        with _said_by_httpx(request):
            response = await self._session.request(
                request.method,
                str(request.url),
                headers=headers,
                data=body,
                allow_redirects=False,
                timeout=_timeout(request.extensions["timeout"]),
            )
        kept = [pair for pair in response.raw_headers if pair[0].lower() not in _UNDONE]
        content = _Content(request, response, self._max_answer_bytes)
        if stream:
            return _in_utf8(httpx2.Response(response.status, headers=kept, stream=content, request=request))
        try:
            whole = b"".join([chunk async for chunk in content])
        finally:
            await content.aclose()
        return _in_utf8(httpx2.Response(response.status, headers=kept, content=whole, request=request))


class _Content(httpx2.AsyncByteStream):
    """A body as it arrives, up to a number of bytes. The time of the whole call includes it."""

    def __init__(self, request: httpx2.Request, response: aiohttp.ClientResponse, max_bytes: int) -> None:
        self._request, self._response, self._max_bytes = request, response, max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        with _said_by_httpx(self._request):
            async for chunk in self._response.content.iter_any():
                received += len(chunk)
                if received > self._max_bytes:
                    raise httpx2.ReadError(f"an answer of more than {self._max_bytes} bytes", request=self._request)
                yield chunk

    async def aclose(self) -> None:
        self._response.close()  # a connection whose answer was read to its end is back in the pool already


def _in_utf8(response: httpx2.Response) -> httpx2.Response:
    """As JSON and events always are. What an answer says of itself is not believed: of some encodings a megabyte takes
    a minute, and others unpack."""
    response.encoding = "utf-8"
    return response


@contextmanager
def _said_by_httpx(request: httpx2.Request) -> Iterator[None]:
    """What aiohttp raises, in the words that the SDKs know."""
    try:
        yield
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


@lru_cache(PARSED_ADDRESSES)
def _parsed(url: httpx2.URL | str) -> httpx2.URL:
    """Most calls go to one of few addresses, and httpx2 takes as long to read one as to build the rest."""
    return httpx2.URL(url)


def _timeout(extension: Mapping[str, Any]) -> aiohttp.ClientTimeout:
    """httpx2's `read` is taken as the limit of the whole call: a drip must not keep it alive."""
    return aiohttp.ClientTimeout(total=extension.get("read"), sock_connect=extension.get("connect"))
