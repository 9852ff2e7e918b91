"""The console in Chromium: sign in, see values move, see a node go and the hub go, at the width of a desk and of a phone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from skerry.model.resources import NODES
from tests.console.fakehub import CODE, FakeHub, a_node

pytestmark = pytest.mark.slow

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
WIDTHS = {"desk": (1280, 860), "phone": (390, 844)}
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    async with FakeHub() as found:
        found.fill()
        found.step(0)
        yield found


@pytest.fixture
async def chromium(hub: FakeHub) -> AsyncIterator[Browser]:
    """Ends before the hub does, so that no connection of its is half open then."""
    del hub
    if not CHROMIUM.exists():
        pytest.skip("Debian's chromium is not installed")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


class Seen:
    """What a context's pages asked for and complained about."""

    def __init__(self, context: BrowserContext) -> None:
        self.hosts: set[str] = set()
        self.complaints: list[str] = []
        context.on("request", lambda r: self.hosts.add("/".join(r.url.split("/")[:3])))
        context.on("weberror", lambda e: self.complaints.append(str(e.error)))
        context.on("console", lambda m: self.complaints.append(m.text) if m.type == "error" and "status of 401" not in m.text else None)
        context.on("dialog", lambda d: self.complaints.append(f"dialog {d.message}"))


async def opened(chromium: Browser, hub: FakeHub, width: str = "desk") -> tuple[Page, Seen]:
    size = WIDTHS[width]
    context = await chromium.new_context(ignore_https_errors=True, viewport={"width": size[0], "height": size[1]})
    seen = Seen(context)
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    await page.goto(hub.url)
    return page, seen


async def signed_in(page: Page, hub: FakeHub) -> None:
    hub.codes.add(CODE)
    await page.get_by_label("One-use code").fill(CODE)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()


async def test_a_wrong_code_is_told_and_a_good_one_signs_in_until_one_leaves(chromium: Browser, hub: FakeHub) -> None:
    page, _ = await opened(chromium, hub)
    await page.get_by_label("One-use code").fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text("This code is not good")).to_be_visible()

    await signed_in(page, hub)
    scripts_see = await page.evaluate("document.cookie")
    await page.reload()
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    await page.get_by_role("button", name="Sign out").click()

    await expect(page.get_by_label("One-use code")).to_be_visible()
    assert scripts_see == ""


async def test_values_move_and_a_node_turns_not_ready_while_one_looks(chromium: Browser, hub: FakeHub) -> None:
    page, seen = await opened(chromium, hub)
    await signed_in(page, hub)
    node = page.locator('[data-node="gateway-a"]')
    await expect(node.get_by_text("Ready", exact=True)).to_be_visible()
    hub.api.seed(NODES, a_node("gateway-a", "dock-3", address="10.4.0.2", ready="Unknown"))
    await expect(node.get_by_text("NotReady")).to_be_visible()

    await page.get_by_role("link", name="Devices", exact=True).click()
    await page.get_by_role("link", name="meter-1").click()
    reading = page.locator('[data-property="flow"] .sk-reading')
    await expect(reading).to_be_visible()
    before = await reading.inner_text()
    hub.step(20)
    await expect(reading).not_to_have_text(before)

    assert seen.complaints == []
    assert seen.hosts == {hub.url.rstrip("/")}


async def test_events_come_in_can_be_stopped_and_are_never_markup(chromium: Browser, hub: FakeHub) -> None:
    page, seen = await opened(chromium, hub)
    await signed_in(page, hub)
    await page.get_by_role("link", name="Events", exact=True).click()
    rows = page.locator(".sk-event")
    await expect(rows).to_have_count(2)
    hub.step(1)
    await expect(rows).to_have_count(3)
    await page.get_by_role("button", name="Pause").click()
    hub.step(2)
    await expect(page.get_by_role("button", name="Resume (1 new)")).to_be_visible()
    await expect(rows).to_have_count(3)

    await page.get_by_label("Filter events").fill("leak")
    await expect(rows).to_have_count(1)
    await rows.first.click()
    await expect(rows.first.locator("pre")).to_contain_text("<script>alert(1)</script>")

    assert seen.complaints == []


async def test_a_lost_hub_is_told_and_found_again_by_itself(chromium: Browser, hub: FakeHub) -> None:
    page, _ = await opened(chromium, hub)
    await signed_in(page, hub)

    await hub.stop_listening()
    await expect(page.get_by_text("Connection to the hub lost")).to_be_visible()
    hub.api.seed(NODES, a_node("late", "quay-1", address="10.5.0.9"))
    await hub.listen(hub.port)

    await expect(page.locator('[data-node="late"]')).to_be_visible()
    await expect(page.get_by_text("Connection to the hub lost")).to_be_hidden()


async def test_the_session_ends_everywhere_when_one_page_signs_out(chromium: Browser, hub: FakeHub) -> None:
    page, _ = await opened(chromium, hub)
    await signed_in(page, hub)
    other = await page.context.new_page()
    await other.goto(hub.url)
    await expect(other.get_by_text("Live", exact=True)).to_be_visible()

    await page.get_by_role("button", name="Sign out").click()

    await expect(other.get_by_label("One-use code")).to_be_visible()


@pytest.mark.parametrize("width", WIDTHS)
async def test_no_page_is_wider_than_its_window(chromium: Browser, hub: FakeHub, width: str) -> None:
    page, seen = await opened(chromium, hub, width)
    await signed_in(page, hub)

    for path in ("", "devices", "devices/default/meter-1", "devices/default/none", "events", "nothing"):
        await page.goto(f"{hub.url}console/{path}")
        await expect(page.get_by_text("Live", exact=True)).to_be_visible()
        hub.step(3)
        await asyncio.sleep(0.5)
        assert await page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), path
    sign_out = await page.get_by_role("button", name="Sign out").bounding_box()
    assert sign_out is not None
    assert sign_out["x"] + sign_out["width"] <= WIDTHS[width][0]
    if width == "phone":
        await page.get_by_role("button", name="Navigation").click()
        await page.get_by_role("link", name="Devices", exact=True).click()
        await expect(page.locator('[data-device="default/meter-1"]')).to_be_visible()

    assert seen.complaints == []


async def test_an_empty_fleet_says_what_to_do_first(chromium: Browser) -> None:
    async with FakeHub() as hub:
        page, _ = await opened(chromium, hub)
        await signed_in(page, hub)
        await expect(page.get_by_text("skerry node join")).to_be_visible()
        await page.get_by_role("link", name="Devices", exact=True).click()
        await expect(page.get_by_text("No devices yet")).to_be_visible()
        await page.get_by_role("link", name="Events", exact=True).click()
        await expect(page.get_by_text("No events yet")).to_be_visible()
