"""Files that somebody starts from, in the studio in a real Chromium: chosen or dropped, on slow networks too."""

import asyncio
import io
from uuid import UUID

import pytest
from PIL import Image
from playwright.async_api import FilePayload, Route, expect

from tests.whole.browser import Visit
from tests.whole.conftest import Darkroom

pytestmark = [pytest.mark.whole, pytest.mark.timeout(600)]
"""A browser may have to be installed first."""
SETTLED_SECONDS = 1.0
DROP = """(zone, bytes) => {
    const dropped = new DataTransfer();
    dropped.items.add(new File([new Uint8Array(bytes)], "sketch.png", { type: "image/png" }));
    zone.dispatchEvent(new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true }));
}"""


def picture(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (512, 512), colour).save(buffer, "PNG")
    return buffer.getvalue()


def file(name: str) -> FilePayload:
    return {"name": f"{name}.png", "mimeType": "image/png", "buffer": picture(name)}


async def hold(visit: Visit, name: str) -> asyncio.Event:
    """Keeps a file of this name on its way, until the event is set."""
    there = asyncio.Event()

    async def wait(route: Route) -> None:
        if f'filename="{name}.png"'.encode() in (route.request.post_data_buffer or b""):
            await there.wait()
        await route.continue_()

    await visit.page.route("**/v1/uploads", wait)
    return there


async def test_nothing_is_asked_for_while_its_file_is_on_its_way(
    visit: Visit, darkroom: Darkroom, someone: UUID
) -> None:
    """It would be made, and paid for, without that."""
    page = visit.page
    await visit.open(darkroom.token(someone))
    there = await hold(visit, "red")
    await page.locator("#file").set_input_files(file("red"))
    await page.locator("#prompt").fill("The same at night")
    await page.locator("#prompt").press("Control+Enter")
    await expect(page.locator("#submit")).to_have_attribute("aria-disabled", "true")
    there.set()
    await expect(page.locator("#started")).to_have_text("You start from this.")
    await expect(page.locator("article")).to_have_count(0)
    async with page.expect_request("**/v1/generations") as asked:
        await page.locator("#prompt").press("Control+Enter")
    assert "asset_id" in str((await asked.value).post_data)


async def test_of_two_files_the_one_that_was_chosen_last_counts(
    visit: Visit, darkroom: Darkroom, someone: UUID
) -> None:
    page = visit.page
    await visit.open(darkroom.token(someone))
    there = await hold(visit, "red")
    await page.locator("#file").set_input_files(file("red"))
    await expect(page.locator("#started")).to_have_text("red.png is being sent …")
    await page.locator("#file").set_input_files(file("blue"))
    await expect(page.locator("#started")).to_have_text("You start from this.")
    started = page.locator("#start img")
    shown = await started.get_attribute("src")
    there.set()
    await asyncio.sleep(SETTLED_SECONDS)
    assert await started.get_attribute("src") == shown
    await expect(page.locator("#started")).to_have_text("You start from this.")
    await visit.check()


async def test_a_picture_is_started_from_by_dropping_it(visit: Visit, darkroom: Darkroom, someone: UUID) -> None:
    page = visit.page
    await visit.open(darkroom.token(someone))
    await page.locator("#model").select_option("seedream-4-0-250828")
    await page.locator("#start").evaluate(DROP, [*picture("teal")])
    await expect(page.locator("#started")).to_have_text("You start from this.")
    await page.locator("#prompt").fill("The same at night")
    await page.locator("#submit").click()
    await expect(page.locator("article .state")).to_have_text("Completed")
    await visit.check()
