"""Signed URLs: expiry, ranges, conditions."""

from __future__ import annotations

import pytest


async def published(simulator, provider, body) -> str:
    async with simulator.post(provider, body) as answer:
        return (await answer.json())["data"][0]["url"]


@pytest.mark.parametrize(("provider", "seconds"), [("ark", 24 * 3600), ("openai", 3600)])
async def test_url_expires_by_the_virtual_clock(simulator, ark_body, provider, seconds):
    dall_e = {"model": "dall-e-2", "prompt": "a boat", "size": "256x256"}
    url = await published(simulator, provider, {"ark": ark_body, "openai": dall_e}[provider])
    await simulator.admin("POST", "clock", {"seconds": seconds - 30})
    async with simulator.http.get(url) as answer:
        assert answer.status == 200
    await simulator.admin("POST", "clock", {"seconds": 60})
    async with simulator.http.get(url) as answer:
        assert answer.status == 403
        assert answer.content_type == "application/xml"
        assert "<Code>AccessDenied</Code><Message>Request has expired</Message>" in await answer.text()


async def test_tampering_and_unknown_names_are_denied(simulator, ark_body):
    url = await published(simulator, "ark", ark_body)
    for wrong in (url[:-1] + ("0" if url[-1] != "0" else "1"), url.replace("exp=", "exp=9"), url.split("?")[0]):
        async with simulator.http.get(wrong) as answer:
            assert answer.status == 403
            assert "AccessDenied" in await answer.text()


async def test_head_range_and_etag(simulator, ark_body):
    url = await published(simulator, "ark", ark_body)
    async with simulator.http.get(url) as answer:
        whole, etag = await answer.read(), answer.headers["ETag"]
        assert answer.content_type == "image/jpeg"
        assert answer.headers["Accept-Ranges"] == "bytes"
    async with simulator.http.head(url) as answer:
        assert (answer.status, answer.content_length) == (200, len(whole))
    for asked, first, last in (
        ("0-99", 0, 99),
        ("100-", 100, len(whole) - 1),
        ("-50", len(whole) - 50, len(whole) - 1),
    ):
        async with simulator.http.get(url, headers={"Range": f"bytes={asked}"}) as answer:
            assert answer.status == 206
            assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(whole)}"
            assert await answer.read() == whole[first : last + 1]
    async with simulator.http.get(url, headers={"Range": f"bytes={len(whole)}-"}) as answer:
        assert answer.status == 416
    async with simulator.http.get(url, headers={"If-None-Match": etag}) as answer:
        assert answer.status == 304
