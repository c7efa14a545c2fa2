"""Work for people over HTTP: whose it is, handing it on, and who stands in for whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from meshline.client import Meshline, ServerRefused
from meshline.events.directory import Directory, Group, Person
from meshline.events.envelope import Actor
from meshline.events.people_requests import (
    AbsenceChangeRequested,
    DirectoryChangeRequested,
    TaskActionRequested,
)
from meshline.workflow.registry import Registry
from tests.api.houses import HOUSES, houses
from tests.api.installation import Client, Installation, installed, reaches
from tests.api.leads import SOURCE, leads

pytestmark = pytest.mark.postgres

ADA = {"email": "ada@example.org", "company": "Acme", "employees": 900}
DIRECTORY = Directory(
    users={name: Person() for name in ("ada", "bob", "cid", "dot")},
    roles={
        "sales-lead": Group(members=("user:ada", "user:bob")),
        "admin": Group(members=("user:cid",)),
    },
)
WITH_SITE = DIRECTORY.model_copy(
    update={"teams": {"site": Group(members=("user:ada", "user:bob"))}}
)
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()


@pytest.fixture
async def meshline(postgres_address: str) -> AsyncIterator[Installation]:
    """An installation that knows who there is, and in which three runs ask."""
    async with installed(postgres_address, Registry(leads, houses)) as installation:
        publisher, cid = installation.services.publisher, Actor("user", "user:cid")
        said = await publisher.request_everywhere(
            "directory",
            DirectoryChangeRequested(number=1, directory=DIRECTORY),
            actor=cid,
            wait_s=30,
        )
        assert [answer.status for answer in said] == ["accepted", "accepted"]
        async with installation.as_("user:cid", "admin") as admin:
            for number in range(3):
                asked = await admin.post("/v1/triggers", ADA, source=SOURCE, id=f"F-{number}")
                await reaches(admin, asked["run_id"], "waiting")
        yield installation


async def work(client: Client, **query: Any) -> list[tuple[Any, ...]]:
    items = (await client.get("/v1/work", **query))["items"]
    return [
        (i["run_id"], i["why"], i["candidate_by"] or i["substitute_of"] or i["assignee"])
        for i in items
    ]


async def test_work_is_claimed_handed_on_and_seen_by_those_whose_it_is(
    meshline: Installation,
) -> None:
    async with AsyncExitStack() as stack:
        ada, bob, dot = [
            await stack.enter_async_context(meshline.as_(f"user:{name}", "approver"))
            for name in ("ada", "bob", "dot")
        ]
        cid = await stack.enter_async_context(meshline.as_("user:cid", "admin"))
        everything = await work(ada)
        run = everything[0][0]
        pages = [await ada.get("/v1/work", limit=2)]
        pages.append(await ada.get("/v1/work", limit=2, after=pages[0]["next"]))
        path = f"/v1/runs/{run}/tasks/big_deal/actions"

        async def act(client: Client, status: int = 202, **body: Any) -> dict[str, Any]:
            said: dict[str, Any] = await client.post(path, body, status=status)
            return {} if status != 202 else {"min_position": said["position"]}

        at = await act(bob, action="claim")
        taken = await act(ada, 409, action="claim")
        bobs, adas = await work(bob, **at), await work(ada)
        at = await act(bob, action="delegate", to="user:dot", reason="lunch")
        dots = await work(dot, **at)
        await act(dot, action="comment", reason="I look at it")
        await act(ada, 409, action="assign", to="user:ada")
        at = await act(cid, action="assign", to="user:ada")
        of_ada = await work(bob, user="user:ada", **at)
        people = (await cid.get("/v1/person-loads"))["items"]
        queues = (await cid.get("/v1/queue-loads"))["items"]
        at = await act(ada, action="release", reason="too much")
        await ada.get("/v1/work", user="nobody", status=422)
        await meshline.until_seen("history")
        history = (await ada.get(f"/v1/runs/{run}/history"))["items"]

    assert [why for _, why, _ in everything] == ["candidate"] * 3
    assert [i["run_id"] for page in pages for i in page["items"]] == [r for r, _, _ in everything]
    assert pages[1]["next"] is None
    assert taken == {}
    assert bobs[0] == (run, "claimed", "user:bob")
    assert run not in [r for r, _, _ in adas]
    assert dots == [(run, "delegated", "user:bob")]
    assert (run, "claimed", "user:ada") in of_ada
    assert [(p["person"], p["claimed"], p["asked"]) for p in people] == [
        ("user:ada", 1, 2), ("user:bob", 0, 2),
    ]  # fmt: skip
    assert [(q["owner"], q["open"], q["unclaimed"]) for q in queues] == [("role:sales-lead", 3, 2)]
    said = [e["type"].split(".")[2] for e in history if e["type"].startswith("meshline.task.")]
    assert said.count("claimed") == said.count("delegated") == said.count("commented") == 1


async def test_who_is_away_says_so_and_another_has_their_work(meshline: Installation) -> None:
    async with (
        meshline.as_("user:ada", "approver") as ada,
        meshline.as_("user:dot", "approver") as dot,
        meshline.as_("user:far", "approver", queues=["role:sales-lead"]) as far,
        meshline.as_("user:off", "approver", workflows=["leads"]) as off,
    ):
        away = {"substitute": "user:dot", "until": TOMORROW, "reason": "holidays"}
        before = await work(dot)
        said = (await ada.post("/v1/absences", away))["items"]
        refused = await dot.post("/v1/absences", {"user": "user:bob", **away}, status=409)
        denied = await far.post("/v1/absences", away, status=403)
        for answer in said:
            await ada.get("/v1/absences", min_position=answer["position"])
        shown = (await ada.get("/v1/absences"))["items"]
        during = await work(dot)
        of_a_queue = (await far.get("/v1/absences"))["items"]
        of_a_workflow = (await off.get("/v1/absences"))["items"]
        [loaded] = [
            p for p in (await far.get("/v1/person-loads"))["items"] if p["person"] == "user:ada"
        ]
        ended = (await ada.post("/v1/absences/end"))["items"]
        for answer in ended:
            await ada.get("/v1/absences", min_position=answer["position"])
        after = await work(dot)

    assert {answer["status"] for answer in said} == {"accepted"}
    assert [answer["partition"] for answer in said] == [0, 1]
    assert refused["code"] == "not_allowed"
    assert denied["code"] == "ML6002"
    assert [(a["absent"], a["substitute"]) for a in shown] == [("user:ada", "user:dot")]
    assert before == after == []
    assert [why for _, why, _ in during] == ["candidate"] * 3
    assert (len(of_a_queue), of_a_workflow) == (1, [])
    assert loaded["substitute"] == "user:dot"


async def test_a_program_takes_work_and_says_who_is_away(meshline: Installation) -> None:
    _, key = await meshline.keys.create("user:ada", ["approver"], made_by="user:test")
    _, narrow = await meshline.keys.create(
        "user:bob", ["approver"], made_by="user:test", workflows=["leads"]
    )
    now = datetime.now(UTC)
    away = AbsenceChangeRequested(
        user="user:ada", substitute="user:dot", since=now, until=now + timedelta(days=1)
    )
    async with (
        Meshline("http://localhost", key, transport=meshline.transport) as ada,
        Meshline("http://localhost", narrow, transport=meshline.transport) as bob,
    ):
        first, *_ = (await ada.views.work(None, now)).rows
        claim = TaskActionRequested(task=first.task, action="claim")
        taken = await ada.publisher.request(first.run_id, claim, wait_s=30)
        again = await bob.publisher.request(first.run_id, claim, wait_s=30)
        said = await ada.publisher.request_everywhere("absences", away, wait_s=30)
        of_bob = away.model_copy(update={"user": "user:bob"})
        refused = await ada.publisher.request_everywhere("absences", of_bob, wait_s=30)
        with pytest.raises(ServerRefused, match="key of a team"):
            await bob.publisher.request_everywhere("absences", away, wait_s=30)
        back = away.model_copy(update={"substitute": None})
        ended = await ada.publisher.request_everywhere("absences", back, wait_s=30)

    assert (taken.status, again.code) == ("accepted", "claimed")
    assert [(a.status, a.position.partition) for a in said] == [("accepted", 0), ("accepted", 1)]
    assert [a.code for a in refused] == ["not_allowed"]
    assert {a.status for a in ended} == {"accepted"}


async def test_a_task_is_shown_claimed_and_completed_with_its_form(meshline: Installation) -> None:
    async with (
        meshline.as_("user:ada", "approver") as ada,
        meshline.as_("user:cid", "admin") as cid,
    ):
        house = {"street": "Elm 1"}
        asked = await cid.post("/v1/triggers", house, source=HOUSES, id="H-1")
        run = asked["run_id"]
        await reaches(cid, run, "waiting")
        at = {"min_position": asked["position"]}
        [listed] = (await ada.get("/v1/tasks", kind="task", **at))["items"]
        everything = (await ada.get("/v1/tasks"))["items"]
        path = f"/v1/runs/{run}/tasks/measure"
        seen = await ada.http.get(path)
        wrong = await cid.post(path, {"form": {"metres": "many"}}, status=409)
        denied = await cid.post(
            f"/v1/runs/{run}/approvals/measure", {"decision": "denied", "reason": "x"}, status=409
        )
        nobodys = await ada.post(path, {"form": {"metres": 84}}, status=409)
        await cid.get(f"/v1/runs/{run}/approvals/measure", status=404)
        owners = (await ada.get("/v1/owners"))["items"]
        await meshline.services.publisher.request_everywhere(
            "directory",
            DirectoryChangeRequested(number=2, directory=WITH_SITE),
            actor=Actor("user", "user:cid"),
            wait_s=30,
        )
        form = {"form": {"metres": 84}, "reason": "all rooms"}
        done = await ada.http.post(path, json=form, headers={"If-Match": seen.headers["etag"]})
        await reaches(cid, run, "succeeded")
        ended = await ada.get(path, min_position=done.json()["position"])
        stale = await ada.http.post(path, json=form, headers={"If-Match": seen.headers["etag"]})

    assert (listed["task"], listed["kind"], listed["state"]) == ("measure", "task", "requested")
    assert listed["form_schema"]["properties"]["metres"]["title"] == "Square metres"
    assert sorted(each["kind"] for each in everything) == ["approval"] * 3 + ["task"]
    assert [wrong["code"], denied["code"], nobodys["code"]] == [
        "not_allowed",
        "is_task",
        "not_allowed",
    ]
    assert [(o["owner"], o["tasks"]) for o in owners if o["tasks"]] == [("team:site", 1)]
    assert done.status_code == 202, done.text
    assert (ended["state"], ended["decided_by"], ended["form"]) == (
        "completed", "user:ada", {"metres": 84},
    )  # fmt: skip
    assert stale.status_code == 412


async def test_a_program_completes_a_task(meshline: Installation) -> None:
    _, key = await meshline.keys.create("user:bob", ["admin"], made_by="user:test")
    await meshline.services.publisher.request_everywhere(
        "directory",
        DirectoryChangeRequested(number=2, directory=WITH_SITE),
        actor=Actor("user", "user:cid"),
        wait_s=30,
    )
    async with Meshline("http://localhost", key, transport=meshline.transport) as bob:
        asked = await bob.publish(HOUSES, {"street": "Elm 2"}, trigger_id="H-2")
        await bob.wait(asked.run_id, until=["waiting"], timeout_s=20)
        wrong = await bob.complete(asked.run_id, "measure", form={"metres": 0})
        done = await bob.complete(asked.run_id, "measure", form={"metres": 7, "floor": "first"})
        run = await bob.wait(asked.run_id, timeout_s=20)
        tasks = (await bob.views.tasks(states=["completed"])).rows

    assert (wrong.code, done.status) == ("invalid", "accepted")
    assert run.outcome == {"text": "Elm 2, 7 m2, first floor"}
    assert [task.task for task in tasks] == ["measure"]
