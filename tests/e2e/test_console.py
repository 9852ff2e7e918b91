"""The console on a real edge, in Chromium: sign in with the code that `skerry hub login` prints, see values move, see a node go."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from demo.stage import NODES, Stage

pytestmark = pytest.mark.slow

expect.set_options(timeout=60_000)
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
NOTICED_MS = 60_000
"""The demo's nodes may be silent for 15 s."""


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("Debian's chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


async def signed_in(chromium: Browser, stage: Stage) -> Page:
    told = await asyncio.to_thread(stage.skerry, "hub", "login")
    found = re.search(r"\b\w{4}-\w{4}-\w{4}\b", told)
    assert found, told
    context = await chromium.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 860})
    page = await context.new_page()
    page.set_default_timeout(NOTICED_MS)
    await page.goto(f"{stage.hub_url}/console/")
    await page.get_by_label("One-use code").fill(found[0])
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    return page


async def test_a_live_value_moves_on_the_page(chromium: Browser, stage: Stage) -> None:
    page = await signed_in(chromium, stage)

    await page.get_by_role("link", name="Devices", exact=True).click()
    await page.get_by_role("link", name="meter-1").click()
    reading = page.locator('[data-property="flow"] .sk-reading')
    await expect(reading).to_have_text(re.compile(r"\d"))
    before = await reading.inner_text()

    await expect(reading).not_to_have_text(before)
    await page.get_by_role("link", name="Events", exact=True).click()
    await expect(page.locator(".sk-event").first).to_be_visible()


async def test_a_node_that_is_killed_turns_not_ready_on_the_page_and_ready_when_it_is_back(chromium: Browser, stage: Stage) -> None:
    place = NODES[1]
    page = await signed_in(chromium, stage)
    node = page.locator(f'[data-node="{place.name}"]')
    await expect(node.get_by_text("Ready", exact=True)).to_be_visible()

    process = stage.processes[place.name]
    process.send_signal(signal.SIGKILL)
    await asyncio.to_thread(process.wait, 60)
    try:
        await expect(node.get_by_text("NotReady")).to_be_visible(timeout=NOTICED_MS)
    finally:
        await asyncio.to_thread(stage.start_node, place)

    await expect(node.get_by_text("Ready", exact=True)).to_be_visible(timeout=NOTICED_MS)


async def test_the_session_is_worth_nothing_at_the_api(chromium: Browser, stage: Stage) -> None:
    page = await signed_in(chromium, stage)

    statuses = [
        (await page.request.get(f"{stage.hub_url}{path}")).status for path in ("/api/v1/secrets", "/skerry/events", "/api/v1/nodes")
    ]

    assert statuses == [401, 401, 401] or statuses == [403, 403, 403]
