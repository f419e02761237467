"""Where people have to sign in, the chat page takes them to the identity provider and back to where they were; or it
asks for a token, where there is none."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from playwright.async_api import BrowserContext, Page, expect

from harness.processes.ports import free_port
from harness.processes.services import Services
from tests.browser.axe import check_axe
from tests.browser.chat import Chat
from tests.gateway.callers import SECRET as TOKEN_SECRET
from tests.gateway.callers import SESSION_SECRETS, bearer, token
from tests.gateway.conftest import client_of
from tests.gateway.identity_provider import SigningKey
from tests.gateway.openid.provider import CLIENT_ID, SECRET, OpenIdProvider


@asynccontextmanager
async def _signed_in(
    services: Services, context: BrowserContext, directory: Path
) -> AsyncIterator[tuple[Page, OpenIdProvider]]:
    """At Ada's conversation."""
    url = f"http://127.0.0.1:{free_port()}"
    provider = OpenIdProvider(url, directory)
    await provider.start(SigningKey.make("first", "ES256"))
    try:
        gateway = await services.gateway(
            PORT=url.rpartition(":")[2],
            OIDC_ISSUER=provider.issuer,
            OIDC_CLIENT_ID=CLIENT_ID,
            OIDC_CLIENT_SECRET=SECRET,
            PUBLIC_URL=url,
            SESSION_SECRETS=SESSION_SECRETS,
        )
        async with client_of(gateway) as http:
            await _begin_a_conversation(http, provider)
        page = await context.new_page()
        await page.goto(f"{url}/#/c/s-ada")
        await _give_a_name(page, provider)
        await expect(page.locator("#sessions")).to_contain_text("Of Ada")
        assert page.url == f"{url}/#/c/s-ada"
        yield page, provider
    finally:
        provider.end()


async def _end_sign_in(context: BrowserContext) -> None:
    """As its time does: the browser has no cookie any more."""
    await context.clear_cookies(name="sluiceway-user")


async def _kept(page: Page) -> str:
    return str(await page.evaluate("JSON.stringify(localStorage)"))


@pytest.mark.requirement("GW-8", "GW-10")
async def test_the_page_takes_a_person_to_sign_in_and_back_to_where_he_was_and_signs_him_out_of_all_its_tabs(
    services: Services, context: BrowserContext, tmp_path: Path
) -> None:
    async with _signed_in(services, context, tmp_path) as (page, _):
        # The cookie is the page's, and no script of it can read it.
        assert await page.evaluate("document.cookie") == ""
        http_only = {cookie.get("name"): cookie.get("httpOnly") for cookie in await context.cookies(page.url)}
        assert http_only["sluiceway-user"] is True

        # Signed out nothing of what was written stays, and nobody is signed in again by himself: in no tab.
        other = await context.new_page()
        await other.goto(page.url)
        await expect(other.locator("#sessions")).to_contain_text("Of Ada")
        await page.get_by_role("textbox", name="Message").fill("a draft of Ada's")
        await page.get_by_role("button", name="Settings").click()
        await page.get_by_role("button", name="Sign out").click()
        for tab in (page, other):
            await expect(tab.get_by_text("You are signed out.")).to_be_visible()
            await expect(tab.get_by_role("button", name="Sign in")).to_be_visible()
        assert "draft" not in await _kept(page)
        assert "sluiceway-user" not in {cookie.get("name") for cookie in await context.cookies(page.url)}
        # In again in one of them is in again in both.
        await other.get_by_role("button", name="Sign in").click()
        for tab in (other, page):
            await expect(tab.locator("#sessions")).to_contain_text("Of Ada")


@pytest.mark.requirement("GW-8", "GW-10")
async def test_whose_sign_in_has_ended_is_told_loses_nothing_and_nobody_else_sees_any_of_it(
    services: Services, context: BrowserContext, tmp_path: Path
) -> None:
    async with _signed_in(services, context, tmp_path) as (page, provider):
        other = await context.new_page()
        await other.goto(page.url)
        await expect(other.locator("#sessions")).to_contain_text("Of Ada")
        await _end_sign_in(context)
        # Both have asked something, and were refused.
        for tab in (page, other):
            box = tab.get_by_role("textbox", name="Message")
            await box.fill("what Ada asks")
            await box.press("Enter")
            await expect(tab.get_by_text("You are no longer signed in.")).to_be_visible()
            await expect(box).to_have_value("what Ada asks")
            assert tab.url.endswith("/#/c/s-ada")
        await check_axe(page)
        await page.get_by_role("button", name="Sign in").click()
        # The provider knows her still. The other tab goes on by itself.
        for tab in (page, other):
            await expect(tab.get_by_text("You are no longer signed in.")).to_have_count(0)
            await expect(tab.locator("#sessions")).to_contain_text("Of Ada")
            await expect(tab.get_by_role("textbox", name="Message")).to_have_value("what Ada asks")
            assert tab.url.endswith("/#/c/s-ada")

        # Somebody else is next at this browser.
        await context.clear_cookies()
        await page.reload()
        await page.wait_for_url(f"{provider.issuer}/**")
        await page.go_back()
        # What is Ada's is not shown before it is clear that it is she.
        await expect(page.get_by_text("You are no longer signed in.")).to_be_visible()
        await expect(page.get_by_role("textbox")).to_have_count(0)
        await page.get_by_role("button", name="Sign in").click()
        await _give_a_name(page, provider, "bob")
        for tab in (page, other):
            await expect(tab.get_by_text("This conversation does not exist, or is not yours.")).to_be_visible()
        assert "Ada" not in await _kept(page)
        await page.get_by_role("link", name="New chat").first.click()
        await expect(page.get_by_role("textbox", name="Message")).to_have_value("")


async def _begin_a_conversation(http: httpx.AsyncClient, provider: OpenIdProvider) -> None:
    begun = await http.get("/auth/login")
    async with httpx.AsyncClient(trust_env=False) as browser:
        back = await provider.let_in(browser, begun.headers["location"], "ada")
    await http.get(back)
    assert (await http.post("/api/chat/sessions", json={"id": "s-ada", "title": "Of Ada"})).status_code == 201


async def _give_a_name(page: Page, provider: OpenIdProvider, name: str = "ada") -> None:
    """On the pages of the provider: who it is, and that this service may know it."""
    await page.wait_for_url(f"{provider.issuer}/**")
    await page.fill("input[name=login]", name)
    await page.fill("input[name=password]", "any")
    await page.click("button[type=submit]")
    await expect(page.locator("input[value=consent]")).to_be_attached()
    await page.click("button[type=submit]")


@pytest.mark.requirement("GW-8", "GW-10")
async def test_without_an_identity_provider_a_person_signs_in_with_a_token_that_no_script_can_read(
    services: Services, chat: Chat, context: BrowserContext
) -> None:
    gateway = await services.gateway(JWT_SECRET=TOKEN_SECRET)
    async with client_of(gateway) as http:
        made = await http.post("/api/chat/sessions", json={"id": "s-ada", "title": "Of Ada"}, headers=bearer("ada"))
        assert made.status_code == 201, made.text
    page = chat.page
    await page.goto(f"{gateway.url}/#/c/s-ada")
    dialog = page.get_by_role("dialog", name="Sign in")
    box = dialog.get_by_label("Token")
    await expect(box).to_be_focused()
    for wrong in ("no token at all", token(sub="ada", exp=1_700_000_000)):
        await box.fill(wrong)
        await page.keyboard.press("Enter")
        await expect(dialog.get_by_role("alert")).to_contain_text("does not accept this token")
        await expect(dialog.get_by_role("button", name="Sign in")).not_to_have_attribute("aria-disabled", "true")
    # As people copy it: with what stands before it, and a line's end.
    mine = token(sub="ada")
    await box.fill(f"Bearer {mine} ")
    await page.keyboard.press("Enter")
    await expect(dialog).to_have_count(0)
    await expect(page.locator("#sessions")).to_contain_text("Of Ada")
    assert page.url == f"{gateway.url}/#/c/s-ada"
    kept = await page.evaluate("JSON.stringify([localStorage, sessionStorage]) + document.cookie")
    assert mine not in kept

    await chat.box.fill("a draft")
    await page.get_by_role("button", name="Settings").click()
    await page.get_by_role("button", name="Sign out (ada)").click()
    await expect(page.get_by_text("You are signed out.")).to_be_visible()
    assert "ada" not in await page.evaluate("JSON.stringify(localStorage)")
    assert "sluiceway-user" not in {cookie.get("name") for cookie in await context.cookies(gateway.url)}
    await page.get_by_role("button", name="Sign in").click()
    await expect(dialog).to_be_visible()
