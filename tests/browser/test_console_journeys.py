"""The console in a real Chromium: what people do there, from signal to outcome."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.api.houses import HOUSES, houses
from tests.browser.shop import MISTYPED
from tests.browser.stage import Stage, kept, stage_at
from tests.services.postgres import namespace

pytestmark = [
    pytest.mark.browser,
    pytest.mark.postgres,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(chromium: Browser, postgres_dsn: str) -> AsyncIterator[Stage]:
    async with stage_at(namespace(postgres_dsn), chromium) as stage:
        yield stage


async def approve(page: Page) -> None:
    await (
        page.get_by_label("discount percent").or_(page.get_by_label("Discount Percent")).fill("10")
    )
    await page.get_by_role("button", name="Approve").click()


async def test_orders_with_a_wrong_name_are_approved_held_set_right_at_once_and_shipped(
    stage: Stage,
) -> None:
    async with (
        stage.as_("ada", "operator", "approver") as page,
        stage.as_("bob", "operator") as other,
    ):
        # Published over the API, and seen without a reload.
        await page.get_by_role("link", name="Runs", exact=True).click()
        runs = [
            await stage.sent_by_the_shop(f"J-1{n}", customer=MISTYPED, euros=euros)
            for n, euros in enumerate((900, 40, 50))
        ]
        row = page.get_by_role("row").filter(has_text="J-10")
        await expect(row).to_contain_text("approval credit")
        await expect(row).to_contain_text("whose: role:credit")

        # Claimed and approved; then its step fails, as those of the others do.
        await row.get_by_role("rowheader").get_by_role("link").click()
        await page.get_by_role("link", name="credit").first.click()
        await page.get_by_role("button", name="Claim").click()
        await expect(page.get_by_role("status")).to_contain_text("It is yours.")
        await approve(page)
        await expect(page.get_by_role("status")).to_contain_text("It is approved.")
        for run_id in runs:
            await stage.reaches(run_id, "held")

        # One cause: what is wrong in all of them is set right in a list that is looked at first.
        await page.get_by_role("link", name="Exceptions", exact=True).click()
        await page.get_by_role("heading", name="Step failed").get_by_role("link").click()
        await expect(page.get_by_text("3 in the last 48 hours")).to_be_visible()
        await kept(page, "exception-group")
        await page.locator("summary", has_text="Edit and retry all").click()
        form = page.locator("#many-edit")
        await form.get_by_label("What is set right").fill('trigger/customer="Acme GmbH"')
        await form.get_by_label("Reason").fill("mistyped in the shop")
        await form.get_by_label("Only after somebody else").check()
        await form.get_by_role("button", name="Preview").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("Retry 3 exceptions")
        await expect(page.locator("del", has_text=MISTYPED)).to_have_count(3)
        await expect(page.locator("ins", has_text="Acme GmbH")).to_have_count(3)
        await kept(page, "bulk-preview")

        # Another agrees; the page follows what is done, without a reload.
        await other.goto(page.url)
        await other.get_by_role("button", name="Agree that it is done").click()
        await expect(other.get_by_role("status")).to_contain_text("You agreed")
        await page.get_by_role("button", name="Retry 3 exceptions").click()
        await expect(page.get_by_role("heading", name="It is done", exact=True)).to_be_visible()
        await expect(page.get_by_text("3 done")).to_be_visible()
        await kept(page, "bulk-done")
        for run_id in runs:
            await stage.reaches(run_id, "succeeded")

        # Its history names everybody who had a hand in it.
        await page.goto(f"/runs/{runs[0]}")
        await expect(page.get_by_role("heading", level=1)).to_contain_text("succeeded")
        agreed = r"mistyped in the shop \(bulk-\w+, agreed to by user:bob\)"
        for said, by in (
            (r"^shop\.orders sent the trigger J-10$", "service:shop"),
            (r"^user:ada takes credit$", "user:ada"),
            (r"^credit was approved$", "user:ada"),
            (rf"^asked to retry .* with trigger/customer corrected, .*{agreed}$", "user:ada"),
            (rf"^.* is closed: retried, because: {agreed}", "user:ada"),
        ):
            event = page.locator(".events .what").filter(has_text=re.compile(rf"by {by}\b"))
            await expect(event.locator("p", has_text=re.compile(said))).to_have_count(1)
        # What was changed is read on demand: that is kept, as every reading of a payload is.
        await page.get_by_role("link", name="ship", exact=True).click()
        changes = page.get_by_role("table", name="Corrected since the try before")
        await expect(changes.get_by_role("row").last).to_contain_text(MISTYPED)
        await expect(changes.get_by_role("row").last).to_contain_text("Acme GmbH")

    assert stage.complaints == []


async def test_a_view_is_rebuilt_compared_put_live_and_rolled_back(stage: Stage) -> None:
    run_id = await stage.order("J-view", "waiting", euros=910)
    async with stage.as_("ada-admin", "admin") as page:
        await page.get_by_role("link", name="Views", exact=True).click()
        await page.get_by_role("link", name="ownership", exact=True).click()
        await page.locator("summary", has_text="Rebuild").click()
        await page.get_by_role("button", name="Rebuild").click()
        # No reload: the page follows it to its end.
        await expect(page.get_by_text("loaded", exact=True)).to_be_visible()
        await expect(page.get_by_role("row").filter(has_text="build 2")).to_contain_text("warm")
        await kept(page, "view-rebuilt")

        await page.get_by_role("link", name="Compare the live build").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("They are equal")
        await kept(page, "view-diff")
        await page.get_by_role("link", name="ownership", exact=True).click()
        await page.locator("summary", has_text="Put live").click()
        await page.get_by_role("button", name="Put live").click()
        await expect(page.get_by_role("status")).to_contain_text("Another build is live.")
        await expect(page.get_by_role("row").filter(has_text="build 2")).to_contain_text("live")
        await page.goto(f"/runs/{run_id}")
        await expect(page.get_by_role("heading", level=1)).to_contain_text("waiting")

        await page.goto("/views/ownership")
        await page.locator("summary", has_text="Roll back").click()
        await page.get_by_role("button", name="Roll back").click()
        await expect(page.get_by_role("status")).to_contain_text("live again")
        await expect(page.get_by_role("row").filter(has_text="build 1")).to_contain_text("live")

    assert stage.complaints == []


async def test_the_same_without_javascript(stage: Stage) -> None:
    run_id = await stage.order("J-2", "waiting", euros=901)
    async with stage.as_("ada", "operator", "approver", scripts=False) as page:
        await page.goto("/approvals")
        row = page.get_by_role("row").filter(has_text=run_id[:8])
        await row.get_by_role("link", name="credit", exact=True).click()
        await approve(page)
        await expect(page.get_by_role("status")).to_contain_text("It is approved.")
        await page.get_by_role("button", name="Dark").click()
        await expect(page.locator("html")).to_have_attribute("data-theme", "dark")
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("button", name="Sign in")).to_be_visible()

    await stage.reaches(run_id, "succeeded")


async def test_a_page_refreshes_itself_and_leaves_what_is_typed_alone(stage: Stage) -> None:
    run_id = await stage.order("J-3", "waiting", euros=902)
    async with (
        stage.as_("ada", "operator", "approver") as page,
        stage.as_("grace", "approver") as other,
    ):
        await page.goto(f"/runs/{run_id}")
        await page.locator("summary", has_text="Hand over").click()
        await page.get_by_label("New owner").fill("team:half-typed")
        await other.goto(f"/runs/{run_id}/approvals/credit")
        await approve(other)
        await stage.reaches(run_id, "succeeded")

        await expect(page.get_by_role("heading", level=1)).to_contain_text("succeeded")
        await expect(page.get_by_label("New owner")).to_have_value("team:half-typed")
        await page.get_by_role("button", name="Hand over").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text("It has moved on")

    assert stage.complaints == []


async def test_who_may_only_look_finds_no_button_and_is_refused_without_one(stage: Stage) -> None:
    run_id = await stage.order("J-4", "waiting", euros=903)
    async with stage.as_("eve", "viewer") as page:
        await page.goto(f"/runs/{run_id}")
        await expect(page.get_by_role("heading", name="Act")).to_have_count(0)
        token = await page.locator("[name=token]").first.get_attribute("value")
        answer = await page.request.post(f"/runs/{run_id}/cancel", form={"token": token or ""})

        assert answer.status == 403
        assert "Not for you" in await answer.text()

    await stage.reaches(run_id, "waiting")


async def test_a_wrong_password_is_told_and_nothing_is_seen_after_signing_out(stage: Stage) -> None:
    await stage.site.user("linus", "viewer")
    async with stage.as_(None) as page:
        await page.goto("/runs?state=held")
        await page.get_by_label("Name").fill("linus")
        await page.get_by_label("Password").fill("not the password")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_contain_text("Name or password is wrong.")
        await page.get_by_label("Name").fill("linus")
        await page.get_by_label("Password").fill("correct horse battery")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page).to_have_url(f"{stage.address}/runs?state=held")
        await page.get_by_role("button", name="Sign out").click()
        await expect(page.get_by_role("button", name="Sign in")).to_be_visible()
        await page.go_back()

        await expect(page.get_by_role("button", name="Sign in")).to_be_visible()


async def test_all_of_it_can_be_done_with_the_keyboard(stage: Stage) -> None:
    run_id = await stage.order("J-5", "waiting", euros=904)
    async with stage.as_("ada", "operator", "approver") as page:
        await page.goto(f"/runs/{run_id}")
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
        await page.keyboard.press("Enter")
        for _ in range(60):
            await page.keyboard.press("Tab")
            if await page.evaluate("document.activeElement.textContent.trim()") == "Pause":
                break
        await page.keyboard.press("Enter")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Tab")
        for _ in range(8):
            focused = await page.evaluate("document.activeElement.name")
            if focused == "reason":
                break
            await page.keyboard.press("Tab")
        await page.keyboard.type("month end")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", level=1)).to_contain_text("paused")

    assert (await stage.site.views.run(run_id)).reason == "month end"


HOSTILE = {
    "markup": "<script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}",
    "turned": "invoice\u202efdp.exe\u2066\u200b",
    "long": "Wort" * 15_000,
    "quotes": "\"'><b>&lt;",
}


@pytest.mark.parametrize("kind", HOSTILE)
async def test_whatever_a_payload_says_is_shown_as_text(stage: Stage, kind: str) -> None:
    text = HOSTILE[kind]
    # An id with marks that turn text would not pass the gate.
    identity = f"H-{kind}-{'' if kind == 'turned' else text[:80]}"
    run_id = await stage.order(identity, "waiting", euros=905, customer=text, note=text[:200])
    async with stage.as_("ada", "operator", "approver", width=390) as page:
        page.on("dialog", lambda dialog: stage.complaints.append(dialog.message))
        for path in (
            f"/runs/{run_id}", "/runs", "/triggers", f"/runs/{run_id}/approvals/credit", "/",
            "/approvals", "/exceptions", f"/runs/{run_id}?payload=step:check_stock&saw=1",
        ):  # fmt: skip
            await page.goto(path)
            assert await page.locator("main script, main img").count() == 0
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide <= 390, f"{path} is {wide} wide"
        await page.goto(f"/runs/{run_id}?payload=run")
        shown = await page.locator("main").inner_text()

    assert stage.complaints == []
    assert "\u202e" not in shown
    if kind == "markup":
        assert "<script>alert(1)</script>" in shown and "{{7*7}}" in shown
    if kind == "turned":
        assert "⟨U+202E⟩" in shown


async def test_work_is_claimed_completed_and_the_next_comes_by_itself(
    chromium: Browser, postgres_dsn: str
) -> None:
    async with stage_at(namespace(postgres_dsn), chromium, houses) as stage:
        runs = []
        for number in (1, 2):
            answer = await stage.site.publisher.publish(
                HOUSES, {"street": f"Elm {number}"}, trigger_id=f"H-{number}"
            )
            await stage.reaches(answer.run_id, "waiting")
            runs.append(answer.run_id)
        async with stage.as_("ada", "approver") as page:
            await page.get_by_role("link", name="My work", exact=True).click()
            await expect(page.get_by_role("row")).to_have_count(3)
            await page.get_by_role("link", name="measure", exact=True).first.click()
            await page.get_by_role("button", name="Claim").click()
            await expect(page.get_by_role("status")).to_contain_text("It is yours.")
            await page.get_by_label("Square metres").fill("84")
            await page.get_by_role("button", name="Complete").click()

            # The next one, without going back to the list.
            await expect(page.get_by_role("status")).to_contain_text("It is done.")
            await expect(page).to_have_url(re.compile(f"/runs/{runs[1]}/tasks/measure"))
            await page.get_by_label("Square metres").fill("12")
            await page.get_by_role("button", name="Complete").click()
            await expect(page.get_by_text("Nothing waits for you.")).to_be_visible()
            await kept(page, "my-work")
        for run_id in runs:
            await stage.reaches(run_id, "succeeded")
        assert stage.complaints == []


async def test_all_of_a_person_s_work_is_handed_over_and_a_run_seen_as_it_was_before(
    stage: Stage,
) -> None:
    runs = [await stage.order(f"J-gone-{n}", "waiting", euros=930 + n) for n in (1, 2)]
    async with stage.as_("ada-admin", "admin") as page:
        for run_id in runs:
            await page.goto(f"/runs/{run_id}")
            await page.locator("summary", has_text="Hand over").click()
            await page.get_by_label("New owner").fill("user:leaver")
            await page.get_by_role("button", name="Hand over").click()
            await expect(page.get_by_role("status")).to_contain_text("another owner")

        await page.get_by_role("link", name="Owners", exact=True).click()
        await page.get_by_role("link", name="user:leaver").click()
        await page.locator("summary", has_text="Hand over all 2").click()
        await page.get_by_label("New owner").fill("user:heir")
        await page.get_by_label("Reason").fill("they have left")
        await page.get_by_role("button", name="Hand over 2 things").click()
        await expect(page.get_by_role("status")).to_contain_text("2 went to user:heir")
        await expect(page.get_by_text("Nothing that is open is theirs.")).to_be_visible()
        await kept(page, "handed-over")

        await page.goto(f"/runs/{runs[0]}")
        owner = page.locator("dl.answers").first
        await expect(owner).to_contain_text("user:heir")
        # By keyboard, and at once: no button is pressed.
        slider = page.get_by_label("After event")
        await slider.press("ArrowLeft")
        await expect(page.get_by_role("heading", level=1)).to_contain_text("as of")
        await expect(slider).to_be_focused()
        await slider.press("Home")
        await expect(owner).to_contain_text("team:fulfilment")
        await expect(page.locator("summary", has_text="Hand over")).to_have_count(0)
        await kept(page, "run-as-it-was")

    assert stage.complaints == []
