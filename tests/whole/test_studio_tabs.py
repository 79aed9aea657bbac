"""The studio in several tabs of one browser, which share six connections."""

import json
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import pytest
from playwright.async_api import Browser, BrowserContext, Page, Request, expect

from tests.whole.browser import visiting
from tests.whole.conftest import Darkroom, User

pytestmark = [pytest.mark.whole, pytest.mark.timeout(600)]
"""A browser may have to be installed first."""
FILMS = 4
CANCEL_SECONDS = 1.0
MOST_STREAMS = 4
"""Of all tabs: two connections are for requests."""


@pytest.fixture
async def context(browser: Browser, darkroom: Darkroom) -> AsyncIterator[BrowserContext]:
    async with visiting(browser, darkroom.url) as visit:
        await visit.page.close()
        yield visit.context


async def opened(context: BrowserContext, url: str, session: dict[str, Any]) -> Page:
    """Another tab with this session, until it has another one."""
    page = await context.new_page()
    kept = json.dumps(json.dumps(session))
    await page.add_init_script(f"sessionStorage['darkroom.session'] ??= {kept}")
    await page.goto(url)
    return page


async def test_films_in_several_tabs_leave_room_for_requests(
    context: BrowserContext, darkroom: Darkroom, new_user: Callable[[], User]
) -> None:
    """Each film is followed once, whichever tabs show it, and who leaves is followed by another tab."""
    user, streams = new_user(), 0

    def begun(request: Request) -> None:
        nonlocal streams
        streams += request.url.endswith("/events")

    context.on("request", begun)
    session = {"access_token": darkroom.token(user.id), "refresh_token": None, "local": False}
    made = [await user.make(f"Slow {uuid4()} [[sim:latency=60]]") for _ in range(FILMS)]
    pages = [await opened(context, darkroom.url, session) for _ in range(3)]
    for page in pages:
        await expect(page.locator("article")).to_have_count(FILMS)
        await expect(page.locator("#price")).to_contain_text("At most")
    assert streams <= MOST_STREAMS
    cards = [[page.locator(f"article:has(#title-{each['id']})") for each in made] for page in pages]
    for number, (tab, film) in enumerate([(0, 0), (1, 1)]):
        start = time.monotonic()
        async with pages[tab].expect_response("**/cancel"):
            await cards[tab][film].get_by_role("button", name="Cancel").click()
        assert time.monotonic() - start < CANCEL_SECONDS
        for seen in cards[number:]:
            await expect(seen[film].locator(".state")).to_have_text("Cancelled")
        await pages[tab].close()
    for film in (2, 3):
        await user.call("POST", f"/v1/generations/{made[film]['id']}/cancel")
        await expect(cards[2][film].locator(".state")).to_have_text("Cancelled")


async def test_idle_tabs_leave_room_for_one_more(
    context: BrowserContext, darkroom: Darkroom, new_user: Callable[[], User]
) -> None:
    session = {"access_token": darkroom.token(new_user().id), "refresh_token": None, "local": False}
    for _ in range(7):
        page = await opened(context, darkroom.url, session)
        await expect(page.locator("#price")).to_contain_text("At most")


async def test_where_browsers_have_no_locks_each_tab_reads_for_itself(
    context: BrowserContext, darkroom: Darkroom, new_user: Callable[[], User]
) -> None:
    """As over plain HTTP."""
    user = new_user()
    await context.add_init_script("Object.defineProperty(Navigator.prototype, 'locks', { value: undefined })")
    session = {"access_token": darkroom.token(user.id), "refresh_token": None, "local": False}
    made = await user.make(f"Slow {uuid4()} [[sim:latency=60]]")
    pages = [await opened(context, darkroom.url, session) for _ in range(2)]
    for page in pages:
        await expect(page.locator("article .state")).to_have_text(re.compile("Being made"))
    await user.call("POST", f"/v1/generations/{made['id']}/cancel")
    for page in pages:
        await expect(page.locator("article .state")).to_have_text("Cancelled")
