"""axe-core, asked about a page as it stands."""

from pathlib import Path

from playwright.async_api import Page

_AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"


async def check_axe(page: Page) -> None:
    await page.evaluate(_AXE.read_text())
    found = await page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    told = [f"{one['id']}: {[node['html'][:200] for node in one['nodes']]}" for one in found["violations"]]
    assert not told, "\n".join(told)
