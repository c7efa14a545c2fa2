"""Counts over the stable names, on views of a log with a bit of everything."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from meshline.workflow.registry import Registry
from tests.api.leads import SOURCE, leads
from tests.console.site import site_at

pytestmark = pytest.mark.postgres

FORM: dict[str, object] = {"email": "ada@example.org", "company": "Acme", "employees": 3}


async def test_what_comes_in_is_open_and_late_is_counted(postgres_address: str) -> None:
    async with site_at(postgres_address, Registry(leads)) as site:
        changed: list[dict[str, object]] = [
            {}, {}, {"employees": 900}, {"company": "Nobody"}, {"company": ""},
        ]  # fmt: skip
        for number, changes in enumerate(changed):
            await site.publisher.publish(SOURCE, FORM | changes, trigger_id=f"F-{number}")
        await site.publisher.publish(SOURCE, FORM, trigger_id="F-0")
        views, wanted = site.views, {"succeeded": 2, "waiting": 1, "held": 1}
        async with asyncio.timeout(90):
            while await views.run_counts() != wanted:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0.02)
        now = datetime.now(UTC)
        [flow] = await views.source_flows(now - timedelta(hours=1))
        [route] = await views.route_loads(now)
        counts = {c.state: c.runs for c in await views.version_counts()}

        assert (flow.source, flow.total, flow.accepted) == (SOURCE, 6, 4)
        assert (flow.repeated, flow.rejected) == (1, 1)
        assert (route.route, route.open, route.late) == ("queue:triage", 1, 0)
        assert counts == wanted
        assert await views.late_runs(now) == []
        late = await views.late_runs(now + timedelta(days=3), limit=1)
        assert [run.state for run in late] in (["waiting"], ["held"])
        assert await views.source_flows(now + timedelta(hours=1)) == []
