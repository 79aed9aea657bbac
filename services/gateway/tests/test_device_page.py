"""The page on which a device is allowed or refused, in a real Chromium, from signing in to what the device hears."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from playwright.async_api import Browser, Page, expect

from gateway.settings import AddressSettings, Settings
from gateway.users import PasswordHasher
from tests.whole.browser import running_browser, visiting

from .client import Client
from .conftest import MakeClient, Service, with_devices

pytestmark = [pytest.mark.connected, pytest.mark.timeout(600)]
"""A browser may have to be installed first."""
CODE, TOKEN, PAGE = "/api/v1/auth/device/code", "/api/v1/auth/device/token", "/auth/device"
PASSWORD = "a password of theirs"


@pytest.fixture(scope="module")
async def settings(settings: Settings) -> Settings:
    """On plain HTTP: a browser brings the cookie of a page that said it was on HTTPS to no other."""
    addresses = AddressSettings(public_url="http://127.0.0.1", public_media_url="https://media.example")
    return replace(with_devices(settings), addresses=addresses)


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with running_browser() as browser:
        yield browser


@pytest.fixture
async def page(browser: Browser, service: Service) -> AsyncIterator[Page]:
    async with visiting(browser, service.url) as visit:
        yield visit.page
        await visit.check()


@pytest.fixture
async def person(postgres: asyncpg.Pool) -> tuple[UUID, str]:
    """Somebody who has an account, and their address."""
    user_id, email = uuid4(), f"{uuid4().hex}@b.example"
    await postgres.execute(
        "INSERT INTO users (id, email, password_hash, profile, email_confirmed_at) VALUES ($1, $2, $3, '{}', now())",
        user_id,
        email,
        PasswordHasher().hash(PASSWORD),
    )
    return user_id, email


async def asked(page: Page, nobody: Client, email: str) -> Any:
    """A device has asked, and its user stands before the decision; what the device was told."""
    begun = (await nobody.post(CODE)).json
    await page.goto(f"{nobody.url}{PAGE}?code={begun['user_code']}")
    await page.get_by_label("E-mail").fill(email)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_label("Code")).to_have_value(begun["user_code"])
    said = page.locator("section")
    await expect(said).to_contain_text(f"You are signed in as {email.partition('@')[0]}.")
    await expect(said).to_contain_text("to see what you made, to make things, and to spend your credits")
    pending = await nobody.post(TOKEN, json={"device_code": begun["device_code"]})
    assert (pending.status, pending.json["error"]) == (400, "authorization_pending")
    return begun


async def test_a_person_signs_in_and_allows_a_device(
    page: Page, nobody: Client, client_of: MakeClient, person: tuple[UUID, str]
) -> None:
    user_id, email = person
    begun = await asked(page, nobody, email)
    await page.get_by_role("button", name="Allow").click()
    await expect(page.get_by_text("The device was allowed.")).to_be_visible()
    given = await nobody.post(TOKEN, json={"device_code": begun["device_code"]})
    assert given.status == 200, given.text
    device = client_of(user_id, given.json["access_token"])
    assert (await device.get("/api/v1/auth/user")).json["id"] == str(user_id)
    await page.goto(f"{nobody.url}{PAGE}?code={begun['user_code']}")
    await page.get_by_role("button", name="Allow").click()
    await expect(page.get_by_text("There is no such code")).to_be_visible()


async def test_a_person_refuses_a_device(page: Page, nobody: Client, person: tuple[UUID, str]) -> None:
    begun = await asked(page, nobody, person[1])
    await page.get_by_role("button", name="Refuse").click()
    await expect(page.get_by_text("The device was refused.")).to_be_visible()
    refused = await nobody.post(TOKEN, json={"device_code": begun["device_code"]})
    assert (refused.status, refused.json["error"]) == (400, "access_denied")
