"""The session of the studio in a real Chromium: how it goes on, how it ends, and what stays of a person then."""

import json
import re
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
from playwright.async_api import Page, Request, Route, expect

from tests.whole.browser import Visit
from tests.whole.conftest import Darkroom

pytestmark = [pytest.mark.whole, pytest.mark.timeout(600)]
"""A browser may have to be installed first."""
EXPIRED = {"code": "unauthenticated", "detail": "The token has expired.", "status": 401}


async def enter(visit: Visit, token: str) -> None:
    """Signs in with a token that is pasted."""
    await visit.page.get_by_label("Access token or API key").fill(token)
    await visit.page.get_by_role("button", name="Use it").click()
    await expect(visit.page.locator("#balance")).to_have_text(re.compile("credit"))


async def in_tab(visit: Visit, session: dict[str, Any]) -> Page:
    """Another tab with this session, until it has another one."""
    page = await visit.context.new_page()
    await page.add_init_script(f"sessionStorage['darkroom.session'] ??= {json.dumps(json.dumps(session))}")
    await page.goto(visit.url)
    return page


async def test_what_was_written_waits_for_whoever_wrote_it(visit: Visit, darkroom: Darkroom, someone: UUID) -> None:
    """Their session ended before they could send it; nobody else is shown it, and who signs out leaves nothing."""
    page, text = visit.page, "A long text that somebody thought about"

    async def refuse(route: Route) -> None:
        if route.request.method == "POST":
            await route.fulfill(status=401, json=EXPIRED)
        else:
            await route.continue_()

    await visit.open(darkroom.token(someone))
    await page.locator("#prompt").fill(text)
    await page.route("**/v1/generations", refuse)
    await page.locator("#submit").click()
    await page.unroute("**/v1/generations")
    for person, seen in ((uuid4(), ""), (someone, text), (someone, "")):
        await enter(visit, darkroom.token(person))
        await expect(page.locator("#prompt")).to_have_value(seen)
        await page.get_by_role("button", name="Sign out").click()


async def test_nothing_of_a_person_stays_when_they_sign_out(visit: Visit, darkroom: Darkroom, someone: UUID) -> None:
    page = visit.page
    await visit.open(darkroom.token(someone))
    await page.locator("#prompt").fill("A quiet harbour at night")
    await page.locator("#submit").click()
    await expect(page.locator("article .state")).to_have_text("Completed")
    await page.get_by_role("button", name="Sign out").click()
    token = page.get_by_label("Access token or API key")
    await expect(token).to_be_visible()
    await expect(page.locator("body")).not_to_contain_text("A quiet harbour")
    await visit.picture("sign-in")
    await visit.examine()
    await token.fill(darkroom.token(uuid4()))
    await page.get_by_role("button", name="Use it").click()
    await expect(page.locator("#balance")).to_have_text("10 credits")
    await expect(page.locator("#prompt")).to_have_value("")
    await expect(page.locator("#found")).to_have_text("Nothing yet.")
    await expect(page.locator("article")).to_have_count(0)
    await visit.check()


async def test_who_cannot_be_renewed_just_now_stays_signed_in(visit: Visit, darkroom: Darkroom, someone: UUID) -> None:
    """A token may end while the database is away: it is renewed once that is back."""
    page, token, renewed = visit.page, darkroom.token(someone), 0

    async def renew(route: Route) -> None:
        nonlocal renewed
        renewed += 1
        if renewed == 1:
            await route.fulfill(status=503, json={"code": "unavailable"}, headers={"Retry-After": "0"})
        else:
            await route.fulfill(json={"access_token": token, "refresh_token": "another"})

    await page.route("**/auth/v1/token**", renew)
    kept = json.dumps({"access_token": "ended", "refresh_token": "good", "local": False})
    await page.add_init_script(f"sessionStorage.setItem('darkroom.session', {json.dumps(kept)})")
    await page.goto(darkroom.url)
    await expect(page.locator("#balance")).to_have_text("10 credits")
    assert renewed >= 2
    await expect(page.get_by_label("Access token or API key")).to_be_hidden()


async def test_who_came_while_nobody_answered_goes_on_without_a_reload(
    visit: Visit, darkroom: Darkroom, someone: UUID
) -> None:
    page = visit.page
    away = {"status": 503, "json": {"code": "unavailable"}, "headers": {"Retry-After": "0"}}
    await page.route("**/v1/models", lambda route: route.fulfill(**away))
    kept = json.dumps({"access_token": darkroom.token(someone), "refresh_token": None, "local": False})
    await page.add_init_script(f"sessionStorage.setItem('darkroom.session', {json.dumps(kept)})")
    await page.goto(darkroom.url)
    await expect(page.locator("#problem")).to_contain_text("Try again in a moment.")
    await page.locator("#prompt").fill("A fox")
    await page.unroute("**/v1/models")
    await page.locator("#prompt").press("Control+Enter")
    await expect(page.locator("#price")).to_have_text("At most 1 credit.")
    await expect(page.locator("#problem")).to_be_hidden()
    await expect(page.locator("article")).to_have_count(0)
    await visit.check()


async def test_a_duplicated_tab_spends_no_refresh_token_twice(
    visit: Visit, darkroom: Darkroom, session: aiohttp.ClientSession
) -> None:
    """Both ask at once with the token that both have; one that was asleep comes later. Who signs out does so in all."""
    person = {"email": f"{uuid4().hex}@b.example", "password": "a password of theirs"}
    async with session.post(f"{darkroom.url}/auth/v1/signup", json=person) as answer:
        given = await answer.json()
    spent: list[str] = []

    def asked(request: Request) -> None:
        if "/auth/v1/token" in request.url:
            spent.append(json.loads(request.post_data or "")["refresh_token"])

    visit.context.on("request", asked)
    ended = {**given, "access_token": f"{given['access_token']}ended", "local": False}
    pages = [await in_tab(visit, ended) for _ in range(2)]
    pages.append(await in_tab(visit, ended))
    for page in pages:
        await expect(page.locator("#balance")).to_have_text("10 credits")
    assert spent == [given["refresh_token"]]
    await pages[0].locator("#prompt").fill("What nobody else should read")
    await pages[1].get_by_role("button", name="Sign out").click()
    for page in pages:
        await expect(page.get_by_label("Access token or API key")).to_be_visible()


async def test_an_account_that_is_asked_for_twice_is_made_once(visit: Visit, darkroom: Darkroom, someone: UUID) -> None:
    page = visit.page
    await visit.open(darkroom.token(someone))
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_label("E-mail").fill(f"{uuid4().hex}@b.example")
    await page.get_by_label("Password").fill("a password of theirs")
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request) if "/auth/v1/signup" in request.url else None)
    await page.get_by_role("button", name="Create an account").dblclick()
    await expect(page.locator("#balance")).to_have_text("10 credits")
    assert len(asked) == 1
    await expect(page.locator("#problem")).to_be_hidden()
