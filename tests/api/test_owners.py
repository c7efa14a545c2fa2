"""What is whose over HTTP: a team is dissolved, and what was its is another's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from meshline.client import Meshline
from meshline.events.directory import Directory, Group, Person
from meshline.events.envelope import Actor
from meshline.events.people_requests import DirectoryChangeRequested, HandoverRequested
from meshline.workflow.registry import Registry
from tests.api.installation import Client, Installation, installed, reaches
from tests.api.leads import SOURCE, leads

pytestmark = pytest.mark.postgres

ADA = {"email": "ada@example.org", "company": "Acme", "employees": 900}


async def directory(meshline: Installation, number: int, *teams: str) -> None:
    said = Directory(
        users={name: Person() for name in ("ada", "cid")},
        teams={team: Group(members=("user:ada",)) for team in teams},
        roles={"sales-lead": Group(members=("user:ada",)), "admin": Group(members=("user:cid",))},
    )
    answers = await meshline.services.publisher.request_everywhere(
        "directory",
        DirectoryChangeRequested(number=number, directory=said),
        actor=Actor("user", "user:cid"),
        wait_s=30,
    )
    assert {answer.status for answer in answers} == {"accepted"}


async def of_the_gone(client: Client, state: str) -> dict[str, Any]:
    async with asyncio.timeout(90):
        while True:
            found = await client.get("/v1/exceptions", kind="owner_gone", state=state)
            if found["items"]:
                return dict(found["items"][0])
            await asyncio.sleep(0.02)


async def test_what_is_a_teams_that_is_gone_is_seen_and_given_to_another(
    postgres_address: str,
) -> None:
    async with installed(postgres_address, Registry(leads)) as meshline:
        await directory(meshline, 1, "enterprise", "emea")
        _, key = await meshline.keys.create("user:cid", ["admin"], made_by="user:test")
        async with (
            meshline.as_("user:ada", "admin") as ada,
            meshline.as_("user:cid", "admin") as cid,
            Meshline("http://localhost", key, transport=meshline.transport) as client,
        ):
            run = (await ada.post("/v1/triggers", ADA, source=SOURCE, id="F-1"))["run_id"]
            await reaches(ada, run, "waiting")
            await directory(meshline, 2, "emea")
            opened = await of_the_gone(ada, "open")
            theirs = await client.views.possessions("team:enterprise")
            body: dict[str, Any] = {
                "kind": "run",
                "previous": "team:enterprise",
                "owner": "team:emea",
            }
            refused = await ada.post(f"/v1/runs/{run}/handover", body, status=409)
            given = await client.publisher.request(
                run, HandoverRequested(**body, reason="dissolved"), wait_s=30
            )
            again = await cid.post(f"/v1/runs/{run}/handover", body, status=409)
            closed = await of_the_gone(ada, "resolved")
            at = str(given.decided_at)
            page = await ada.get("/v1/handovers", run_id=run, owner="team:emea", min_position=at)
            first = await ada.get("/v1/handovers", limit=1)
            rest = await client.views.handovers(after=first["next"])
            left = await ada.get("/v1/owners/team:enterprise/possessions", min_position=at)

    assert (opened["about"], opened["owner"]) == ("team:enterprise", "queue:triage")
    assert [(each.kind, each.run_id, each.about) for each in theirs.rows] == [("run", run, "")]
    assert (refused["code"], given.status, again["code"]) == (
        "not_allowed", "accepted", "not_theirs",
    )  # fmt: skip
    assert closed["exception_id"] == opened["exception_id"]
    [went] = page["items"]
    assert (went["previous"], went["owner"], went["actor"], went["reason"]) == (
        "team:enterprise", "team:emea", "user:cid", "dissolved",
    )  # fmt: skip
    assert (first["items"], [row.owner for row in rest.rows]) == ([went], ["team:enterprise"])
    assert left["items"] == []
