"""The studio in a real Chromium while something is made: what comes late, twice or anew stands where it belongs."""

import asyncio
import json
from uuid import UUID

import pytest
from playwright.async_api import Route, expect

from tests.whole.browser import Visit, make
from tests.whole.conftest import Darkroom

pytestmark = [pytest.mark.whole, pytest.mark.timeout(600)]


async def test_of_a_text_that_is_written_anew_the_last_attempt_is_shown(
    visit: Visit, darkroom: Darkroom, someone: UUID
) -> None:
    pieces = [(1, "Foxes "), (2, "were red."), (1_000_001, "A fox "), (1_000_002, "is red.")]
    said = [{"number": number, "stage": "rendering", "percent": 0, "text": text} for number, text in pieces]
    body = "".join(f"event: progress\ndata: {json.dumps(each)}\n\n" for each in said)
    heard = 0

    async def once(route: Route) -> None:
        nonlocal heard
        heard += 1
        if heard == 1:
            await route.fulfill(body=body, content_type="text/event-stream")

    await visit.page.route("**/v1/generations/*/events", once)
    await visit.open(darkroom.token(someone))
    await visit.page.get_by_role("radio", name="Text").check()
    await make(visit, "A fox [[sim:latency=20]]")
    await expect(visit.page.locator("article .written")).to_have_text("A fox is red.")


async def test_what_ends_while_a_search_is_asked_for_stays_in_its_place(
    visit: Visit, darkroom: Darkroom, someone: UUID
) -> None:
    page, has_ended = visit.page, asyncio.Event()

    async def wait(route: Route) -> None:
        await has_ended.wait()
        await route.continue_()

    await visit.open(darkroom.token(someone))
    await make(visit, "An old needle [[sim:latency=8]]")
    await make(visit, "A new needle")
    await expect(page.locator("article .state").first).to_have_text("Completed")
    await page.route("**/v1/generations?*q=needle*", wait)
    await page.locator("#words").fill("needle")
    await page.locator("#words").press("Enter")
    await expect(page.locator("article .state").last).to_have_text("Completed")
    has_ended.set()
    await page.locator("#search").scroll_into_view_if_needed()
    tiles = page.locator("#history li")
    await expect(tiles).to_have_count(2)
    await expect(tiles.nth(0)).to_contain_text("A new needle")
    await expect(tiles.nth(1)).to_contain_text("An old needle")
