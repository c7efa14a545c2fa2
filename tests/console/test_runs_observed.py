"""A run that goes on elsewhere: its page has no graph, but all the rest."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from meshline.events.envelope import Actor
from meshline.events.requests import ActivityReported
from meshline.workflow import Activity, Observation, ObservedWorkflow
from meshline.workflow.registry import Registry
from tests.console.site import site_at

ITSM = Actor("service", "service:itsm")
pytestmark = pytest.mark.postgres


class Ticket(BaseModel):
    case: str


tickets = ObservedWorkflow(
    "tickets",
    version=1,
    trigger=Ticket,
    source="itsm",
    owner="team:desk",
    exceptions="queue:desk",
    outcome="the user is content",
)


@tickets.observe
def read(activity: Activity, memo: Any) -> Observation:
    return Observation(owner="team:network", actor="user:ada", waiting_on="vendor")


async def test_a_run_that_is_observed_shows_whose_it_is_and_what_it_waits_for_outside(
    postgres_address: str,
) -> None:
    async with site_at(postgres_address, Registry(tickets)) as site:
        published = await site.publisher.publish("itsm", {"case": "T-1"}, trigger_id="T-1")
        reported = ActivityReported(activity="sent to the vendor")
        await site.publisher.request(published.run_id, reported, actor=ITSM, wait_s=30)
        async with asyncio.timeout(90):
            while not (found := (await site.views.runs(states=["waiting"])).rows):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        async with site.as_("ada", "operator") as ada:
            page = await ada.open(f"/runs/{found[0].run_id}")
            workflow = await ada.open("/workflows/tickets")

    assert "observed" in page and "observed" in workflow
    assert "the user is content" in page
    assert "team:network" in page
    assert "vendor" in page
    assert 'id="graph"' not in page
    assert "/pause" not in page and "/owner" in page
