"""Where people have to sign in, the chat page takes them to the identity provider and back to where they were."""

import pytest
from playwright.async_api import BrowserContext, expect

from harness.processes.ports import free_port
from harness.processes.services import Services
from tests.gateway.callers import SESSION_SECRETS
from tests.gateway.conftest import client_of
from tests.gateway.identity_provider import IdentityProvider, SigningKey


@pytest.mark.requirement("GW-8", "GW-10")
async def test_the_page_takes_a_person_to_sign_in_and_back_to_where_he_was(
    services: Services, context: BrowserContext
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    async with IdentityProvider([SigningKey.make("first", "ES256")]) as provider:
        gateway = await services.gateway(
            PORT=str(port),
            OIDC_ISSUER=provider.issuer,
            OIDC_CLIENT_ID="chat-page",
            PUBLIC_URL=url,
            SESSION_SECRETS=SESSION_SECRETS,
        )
        token = provider.keys[0].sign(iss=provider.issuer, aud="chat-page", sub="ada")
        async with client_of(gateway) as http:
            new = {"id": "s-ada", "title": "Of Ada"}
            await http.post("/api/chat/sessions", json=new, headers={"authorization": f"Bearer {token}"})
        page = await context.new_page()
        await page.goto(f"{url}/#/c/s-ada")
        await expect(page.locator("#sessions")).to_contain_text("Of Ada")
        assert page.url == f"{url}/#/c/s-ada"
        # The cookie is the page's, and no script of it can read it.
        assert await page.evaluate("document.cookie") == ""
        http_only = {cookie.get("name"): cookie.get("httpOnly") for cookie in await context.cookies()}
        assert http_only["sluiceway-user"] is True

        # Signed out nothing of what was written stays, and nobody is signed in again by himself.
        await page.get_by_role("textbox", name="Message").fill("a draft of Ada's")
        await page.get_by_role("button", name="Settings").click()
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_text("You are signed out.")).to_be_visible()
        assert "draft" not in await page.evaluate("JSON.stringify(localStorage)")
        assert "sluiceway-user" not in {cookie.get("name") for cookie in await context.cookies()}
        assert sum(path.startswith("/authorize?") for path in provider.fetched) == 1
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.locator("#sessions")).to_contain_text("Of Ada")
    assert sum(path.startswith("/authorize?") for path in provider.fetched) == 2
