"""Signed picture URLs that expire, as an object store in front of a provider serves them.

An asset is a recipe, drawn when it is fetched. Whatever is wrong with a URL, the answer is 403 with an XML body.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections import OrderedDict
from dataclasses import dataclass, replace

from aiohttp import web

from simulator.clock import Clock
from simulator.faults import Wish
from simulator.pictures import CONTENT_TYPES, Gallery, Recipe

ASSETS_MAX = 100_000
DRIP_SECONDS = 0.1


@dataclass(slots=True)
class Asset:
    recipe: Recipe
    wish: Wish | None
    downloads: int = 0


class Assets:
    """Knows the latest `ASSETS_MAX` assets."""

    def __init__(self, clock: Clock, gallery: Gallery, seed: int) -> None:
        self._clock, self._gallery = clock, gallery
        self._secret = hashlib.sha256(f"asset signatures {seed}".encode()).digest()
        self._assets: OrderedDict[str, Asset] = OrderedDict()
        self._published = 0

    def publish(self, host: str, recipe: Recipe, seconds: int, wish: Wish | None) -> str:
        """A URL valid for `seconds`; `host` is scheme, name and port."""
        self._published += 1
        number = hashlib.blake2b(f"{self._published}|{recipe}".encode(), key=self._secret[:32], digest_size=16)
        name = f"{number.hexdigest()}.{recipe.format}"
        self._assets[name] = Asset(recipe, wish)
        if len(self._assets) > ASSETS_MAX:
            self._assets.popitem(last=False)
        expired = wish is not None and wish.fault.name == "asset-expired"
        until = int(self._clock.now()) + (-1 if expired else seconds)
        return f"{host}/assets/{name}?exp={until}&sig={self._signature(name, str(until))}"

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """GET and HEAD, with single ranges and ETag."""
        name = request.match_info["name"]
        expires, signature = request.query.get("exp", ""), request.query.get("sig", "")
        if not hmac.compare_digest(signature.encode(), self._signature(name, expires).encode()):
            return _denied("SignatureDoesNotMatch", "The request signature does not match.", name)
        if int(expires) < self._clock.now():
            return _denied("AccessDenied", "Request has expired", name)
        asset = self._assets.get(name)
        if asset is None:
            return _denied("AccessDenied", "Access Denied", name)
        wish = self._due(asset, request)
        flaw = wish.fault.name if wish is not None and wish.fault.stage == "content" else ""
        body = await self._gallery.picture(replace(asset.recipe, flaw=flaw))
        kind = {"asset-html": "text/html", "asset-bomb": "image/png"}.get(flaw, CONTENT_TYPES[asset.recipe.format])
        if wish is None or flaw:
            return _delivered(request, body, kind)
        return await _spoiled(request, body, kind, wish)

    def _due(self, asset: Asset, request: web.Request) -> Wish | None:
        """The fault of this download, unless its times are used up; a HEAD does not use one up."""
        if asset.wish is None or asset.wish.fault.name == "asset-expired":
            return None
        if request.method != "HEAD":
            asset.downloads += 1
        if asset.wish.fault.name == "asset-redirect":
            return None if "redirected" in request.query else asset.wish
        within = asset.wish.times is None or max(1, asset.downloads) <= asset.wish.times
        return asset.wish if within else None

    def _signature(self, name: str, expires: str) -> str:
        return hmac.new(self._secret, f"{name}?{expires}".encode(), hashlib.sha256).hexdigest()


def _denied(code: str, message: str, name: str) -> web.Response:
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>AccessDenied</Code><Message>{message}</Message><Reason>{code}</Reason>"
        f"<Resource>/assets/{name.replace('&', '').replace('<', '')}</Resource></Error>"
    )
    return web.Response(status=403, text=text, content_type="application/xml")


def _delivered(request: web.Request, body: bytes, kind: str) -> web.Response:
    etag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    headers = {"ETag": etag, "Accept-Ranges": "bytes", "Content-Type": kind}
    if request.headers.get("If-None-Match") == etag:
        return web.Response(status=304, headers=headers)
    try:
        span = request.http_range
    except ValueError:
        span = slice(None, None, 1)
    if (span.start is None and span.stop is None) or request.method == "HEAD":
        return web.Response(body=body, headers=headers)
    start, stop, _ = span.indices(len(body))
    if start >= stop:
        return web.Response(status=416, headers={"Content-Range": f"bytes */{len(body)}"})
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
    return web.Response(status=206, body=body[start:stop], headers=headers)


async def _spoiled(request: web.Request, body: bytes, kind: str, wish: Wish) -> web.StreamResponse:
    name = wish.fault.name
    if name == "asset-503":
        slow_down = "<Error><Code>SlowDown</Code></Error>"
        return web.Response(status=503, text=slow_down, content_type="application/xml")
    if name == "asset-type":
        return _delivered(request, body, wish.value)
    if wish.fault.status == 302:
        private = name == "asset-redirect-private"
        return web.Response(
            status=302, headers={"Location": wish.value if private else f"{request.path_qs}&redirected=1"}
        )
    return await _broken_off(request, body, kind, wish)


async def _broken_off(request: web.Request, body: bytes, kind: str, wish: Wish) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": kind})
    if wish.fault.name == "asset-chunk-cut":
        response.enable_chunked_encoding()
    else:
        response.content_length = len(body)
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    if wish.fault.name == "asset-drip":
        return await _dripped(response, body, max(1, int(wish.number)))
    await response.write(body[: len(body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response


async def _dripped(response: web.StreamResponse, body: bytes, bytes_per_second: int) -> web.StreamResponse:
    step = max(1, int(bytes_per_second * DRIP_SECONDS))
    for start in range(0, len(body), step):
        await response.write(body[start : start + step])
        await asyncio.sleep(DRIP_SECONDS)
    await response.write_eof()
    return response
