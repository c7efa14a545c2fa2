"""What the pictures show: many orders at once, real incidents, a day of a web form, and audits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime

from examples import incidents, lead_intake

from meshline.events import Trigger
from meshline.events.envelope import Actor
from meshline.events.requests import ActivityReported, ApprovalSubmitted
from tests.acceptance.support import reference
from tests.acceptance.support.histories import ACTOR, History
from tests.browser.shop import CARRIER, SOURCE
from tests.browser.stage import Stage

__all__ = ["acted", "fill_incidents", "fill_leads", "fill_many"]

EACH = 5
"""Of the incidents every fifth: all 7,554 take several minutes."""


async def fill_many(stage: Stage, count: int) -> None:
    """Place so many orders at once, of every kind."""
    CARRIER.is_down = True

    async def placed() -> AsyncIterator[Trigger]:
        for number in range(count):
            kind = number % 7
            payload = {
                "customer": ("Ada", "Grace", "Müller & Söhne GmbH")[number % 3],
                "euros": 600 + number if kind == 0 else 40 + number % 400,
                "note": "" if kind == 3 else "ship anyway",
            }
            yield Trigger(SOURCE, payload, f"O-{1000 + number}")

    async for _ in stage.site.publisher.publish_many(placed(), wait_s=60):
        pass
    await stage.site.publisher.publish(SOURCE, {"euros": -1}, trigger_id="O-broken")
    await _at_rest(stage, count)


async def _at_rest(stage: Stage, runs: int) -> None:
    """Return as soon as so many runs are shown, and none does anything."""
    async with asyncio.timeout(300):
        while True:
            counts = await stage.site.views.run_counts()
            retries = await stage.site.views.runs(wait_kind="retry", limit=1)
            if sum(counts.values()) >= runs and not counts.get("running") and not retries.rows:
                return
            await asyncio.sleep(0.5)


async def fill_incidents(stage: Stage) -> None:
    """Let the real incidents come in, each with all that is known of it."""
    history = History(
        incidents.incidents, incidents.convert, reference.incident,
        reference.real_cases("incidents")[::EACH],
    )  # fmt: skip
    for run_id, payload, activities in history.converted:
        first = datetime.fromisoformat(activities[0].time)
        await stage.site.publisher.publish(
            history.source, payload, trigger_id=payload["case"], time=first, wait_s=None
        )
        reports = [
            stage.site.publisher.request(
                run_id,
                ActivityReported(activity=each.name, payload=each.payload),
                actor=ACTOR,
                event_id=f"{payload['case']}/{number}",
                time=datetime.fromisoformat(each.time),
            )
            for number, each in enumerate(activities)
        ]
        await asyncio.gather(*reports)
    await _at_rest(stage, len(history.lines))


async def acted(stage: Stage) -> None:
    """Let there be something for auditors: keys, a run that was handed over, a refusal."""
    await stage.site.user("ada", "admin")
    await stage.site.keys.create("service:shop", ["source"], made_by="user:ada", sources=[SOURCE])
    key, _ = await stage.site.keys.create(
        "user:sue", ["operator", "approver"], made_by="user:ada", queues=["team:fulfilment"]
    )
    await stage.site.keys.revoke(key.id, by="user:ada", reason="the laptop is lost")
    await stage.site.user("eve", "viewer")
    found = (await stage.site.views.runs(states=["waiting"], limit=1)).rows
    if not found:
        return
    async with stage.as_("ada") as page, stage.as_("eve") as other:
        await page.goto(f"/runs/{found[0].run_id}")
        await page.locator("summary", has_text="Hand over").click()
        await page.get_by_label("New owner").fill("team:finance")
        await page.locator("#form-owner").get_by_label("Reason").fill("large order, month end")
        await page.get_by_role("button", name="Hand over").click()
        await other.goto("/")
        token = await other.locator("[name=token]").first.get_attribute("value")
        form: dict[str, str | float | bool] = {"token": token or "", "reason": "let me"}
        await other.request.post(f"/runs/{found[0].run_id}/cancel", form=form)
    async with asyncio.timeout(90):
        while True:
            if len((await stage.site.views.audit(limit=2)).rows) >= 2:
                return
            await asyncio.sleep(0.05)


async def fill_leads(stage: Stage) -> None:
    """Let a day of a web form come in, and people answer most of what they are asked."""
    views, publisher = stage.site.views, stage.site.publisher
    submissions = lead_intake.generate()
    sent = [Trigger(lead_intake.lead.spec.source, each.payload, each.id) for each in submissions]
    async for _ in publisher.publish_many(sent, wait_s=60):
        pass
    await _at_rest(stage, len(submissions) * 9 // 10)
    asked = sorted((await views.approvals(limit=100)).rows)
    for number, approval in enumerate(asked[:-6]):
        answer = ApprovalSubmitted(
            approval=approval.task,
            decision="denied" if number % 5 == 3 else "approved",
            form={"discount_percent": 5 * (1 + number % 3)},
            reason="no discount for customers of our competitor" if number % 5 == 3 else "",
        )
        await publisher.request(approval.run_id, answer, actor=Actor("user", "user:grace"))
    await _at_rest(stage, len(submissions) * 9 // 10)
