"""The page of the API in a real Chromium: it shows and tries what it documents, and asks nobody else."""

import pytest
from playwright.async_api import expect
from yarl import URL

from tests.whole.browser import Visit, running_browser, visiting
from tests.whole.conftest import Darkroom

pytestmark = [pytest.mark.whole, pytest.mark.timeout(600)]
"""A browser may have to be installed first."""


async def test_the_api_is_read_and_tried_without_another_host(darkroom: Darkroom) -> None:
    async with running_browser() as browser, visiting(browser, darkroom.url) as visit:
        await look(visit)
        assert visit.complaints == []
        assert {URL(request.split()[1]).origin() for request in visit.requests} == {URL(darkroom.url).origin()}


async def look(visit: Visit) -> None:
    page = visit.page
    await visit.open()
    visit.requests.clear()  # the studio shows pictures, which storage serves
    await page.get_by_role("link", name="The API").click()
    await expect(page.get_by_text("Ask for a picture; Darkroom holds the credits")).to_be_visible()
    listing = page.locator("#operations-Generations-listing_v1_generations_get")
    await listing.locator("button").first.click()
    await listing.get_by_role("button", name="Try it out").click()
    await listing.get_by_role("button", name="Execute").click()
    await expect(listing.locator(".live-responses-table .response-col_status").last).to_contain_text("401")
    await visit.picture("api")
