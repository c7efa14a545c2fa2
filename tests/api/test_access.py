"""Who may do what: every route, with no key, with keys that are over, with each role and team."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute

from meshline.api.access import check_every_route
from meshline.api.app import PUBLIC, ROUTERS
from meshline.workflow.registry import Registry
from tests.api.installation import GAP_S, Client, Installation, installed, reaches
from tests.api.leads import SOURCE, leads
from tests.api.refunds import REFUNDS, refunds

pytestmark = pytest.mark.postgres

ADA = {"email": "ada@example.org", "company": "Acme", "employees": 900}

# What each call needs, said again by hand: a new route must be added here.
NEEDS = {
    **dict.fromkeys(
        [
            *("list_triggers", "list_runs", "show_run", "run_history", "owner_periods"),
            *("run_reasons", "run_payloads", "step_payloads"),
            *("list_exceptions", "exception_groups", "show_exception", "list_approvals"),
            "show_group",
            *(
                "list_tasks",
                "show_task",
                "list_work",
                "list_person_loads",
                "list_queue_loads",
                "list_absences",
                "list_possessions",
                "list_handovers",
            ),
            *("show_approval", "list_owners", "list_workflows", "show_workflow", "list_views"),
            *("follow_changes", "list_bulks", "show_bulk", "bulk_items"),
        ],
        "read",
    ),
    **dict.fromkeys(
        [
            *("cancel_run", "pause_run", "resume_run", "retry_run", "hand_over", "send_message"),
            *("hand_over_possession", "act_on_group"),
            *("act_on_exception", "note_on_run", "preview_bulk", "confirm_bulk", "apply_bulk"),
        ],
        "act",
    ),
    **dict.fromkeys(
        [
            *("list_view_builds", "show_rebuilds", "rebuild_view", "wish_of_rebuild"),
            *("diff_of_view", "swap_view", "roll_back_view", "list_parked", "free_parked"),
        ],
        "keep",
    ),
    "publish_trigger": "publish",
    "receive_webhook": "a signature",
    "publish_triggers": "publish",
    **dict.fromkeys(
        ["decide_approval", "act_on_task", "complete_task", "set_absence", "end_absence"], "decide"
    ),
    "report_outcome": "report",
    "report_activity": "report",
    **dict.fromkeys(
        ["list_audit", "export_audit", "list_readings", "export_payload_readings"], "audit"
    ),
    **dict.fromkeys(
        [
            *("list_keys", "create_key", "rotate_key", "revoke_key", "list_users", "create_user"),
            *("change_user", "change_password", "remove_user", "list_sessions", "end_sessions"),
        ],
        "admit",
    ),
    "change_own_password": "be known",
}
MAY = {
    "source": {"publish"},
    "worker": {"read", "report"},
    "viewer": {"read"},
    "auditor": {"read", "audit"},
    "approver": {"read", "decide"},
    "operator": {"read", "act"},
    "admin": {"publish", "read", "decide", "act", "report", "audit", "keep", "admit"},
}
BODIES: dict[str, Any] = {
    "hand_over_possession": {"kind": "run", "previous": "user:ada", "owner": "user:eve"},
    "publish_trigger": {"order": "1"},
    "publish_triggers": {"triggers": [{"id": "1", "payload": {}}]},
    "hand_over": {"owner": "user:eve"},
    "send_message": {"name": "anything"},
    "note_on_run": {"text": "anything"},
    "act_on_exception": {"action": "acknowledge"},
    "act_on_group": {"action": "reopen", "reason": "anything"},
    "preview_bulk": {"action": "acknowledge", "chosen": {"kind": "none"}},
    "free_parked": {"position": "0:1"},
    "decide_approval": {"decision": "approved"},
    "act_on_task": {"action": "claim"},
    "complete_task": {},
    "set_absence": {"substitute": "user:eve", "until": "2026-01-01T00:00:00Z"},
    "report_outcome": {"attempt": 1, "outcome": "succeeded"},
    "report_activity": {"activity": "anything"},
    "create_key": {"actor": "service:crm", "roles": ["source"], "reason": "anything"},
    "create_user": {"name": "eve", "roles": ["viewer"], "reason": "anything"},
    "change_user": {"roles": ["viewer"], "reason": "anything"},
    "end_sessions": {"actor": "user:eve", "reason": "anything"},
    "rotate_key": {"reason": "anything"},
    "revoke_key": {"reason": "anything"},
    "change_password": {"reason": "anything"},
    "remove_user": {"reason": "anything"},
    "change_own_password": {"old": "anything", "new": "anything at all"},
}


@pytest.fixture
async def meshline(postgres_address: str) -> AsyncIterator[Installation]:
    async with installed(postgres_address, Registry(leads, refunds)) as installation:
        yield installation


def routes() -> list[APIRoute]:
    found = [route for router in ROUTERS for route in router.routes]
    assert all(isinstance(route, APIRoute) for route in found)
    return [route for route in found if isinstance(route, APIRoute)]


async def called(client: httpx.AsyncClient, route: APIRoute, **names: str) -> httpx.Response:
    """Call a route with what the names say, and the body that it needs."""
    [method] = route.methods or {""}
    waits = method == "POST" and not route.path.startswith(WAIT_FOR_NOTHING)
    query: dict[str, Any] = {"wait_s": 0} if waits else {}
    if route.name.startswith("publish_"):
        query |= {"source": REFUNDS}
    if route.name == "publish_trigger":
        query |= {"id": "R-1"}
    if route.name == "follow_changes":
        query |= {"for_s": 0}
    if route.name in ("export_audit", "export_payload_readings"):
        query |= {"format": "csv"}
    body = BODIES.get(route.name, {}) if method == "POST" else None
    return await client.request(method, route.path.format(**names), json=body, params=query)


WAIT_FOR_NOTHING = (
    "/v1/bulk-lists",
    "/v1/views",
    "/v1/keys",
    "/v1/users",
    "/v1/sessions",
    "/v1/account",
)
NAMES = {
    "key": "none",
    "user": "none",
    "run": "none",
    "exception": "none",
    "approval": "large",
    "task": "large",
    "workflow": "none",
    "step": "s",
    "hook": "none",
    "owner": "user:ada",
    "bulk": "none",
    "view": "none",
    "wish": "pause",
    "action": "retry",
    "cause": "0" * 12,
}


async def test_every_route_is_refused_without_a_key_and_with_one_that_is_over(
    meshline: Installation,
) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    async with (
        meshline.as_(None) as nobody,
        meshline.as_("user:ada", "admin") as ada,
        meshline.as_("user:old", "admin", expires_at=yesterday) as old,
    ):
        key = ada.http.headers["Authorization"].removeprefix("Bearer ").split("_")[1]
        await ada.get("/v1/runs")
        await meshline.keys.revoke(key, by="user:test")
        refused = [
            {},
            {"Authorization": "Bearer mlk_0123456789ab_" + "x" * 43},
            {"Authorization": ada.http.headers["Authorization"]},
            {"Authorization": old.http.headers["Authorization"]},
            {"Authorization": ada.http.headers["Authorization"] + "x"},
            {"Authorization": "Basic YTpi"},
        ]
        for headers in refused:
            nobody.http.headers = httpx.Headers(headers)
            for route in routes():
                answer = await called(nobody.http, route, **NAMES)
                assert answer.status_code == 401, f"{route.name} with {headers}"
                assert answer.headers["content-type"] == "application/problem+json"
                assert answer.headers["www-authenticate"] == "Bearer"


async def test_nothing_is_open_but_the_document(meshline: Installation) -> None:
    async with meshline.as_(None) as nobody:
        paths = {getattr(r, "path", "") for r in meshline.api.routes} - {r.path for r in routes()}
        opened = {path for path in PUBLIC if (await nobody.http.get(path)).status_code == 200}

    assert paths - {""} == PUBLIC
    assert opened == PUBLIC


async def test_a_role_may_do_what_it_is_for_and_no_more(meshline: Installation) -> None:
    assert {route.name for route in routes()} == NEEDS.keys()
    for role, may in MAY.items():
        async with meshline.as_(f"user:{role}", role) as client:
            for route in routes():
                answer = await called(client.http, route, **NAMES)
                if route.name == "receive_webhook":
                    assert answer.status_code == 401, "a key is no signature"
                    continue
                is_allowed = NEEDS[route.name] in may | {"be known"}
                assert (answer.status_code != 403) is is_allowed, f"{role} {route.name}"
                assert answer.status_code != 401


async def other_teams(ada: Client) -> dict[str, str]:
    """Let the other team have a run that asks, and one that is held by an exception."""
    for order, state in (("7", "waiting"), ("lost", "held")):
        answer = await ada.post(
            "/v1/triggers", {"order": order}, source=REFUNDS, id=order, wait_s=30
        )
        await reaches(ada, answer["run_id"], state)
    [asked] = (await ada.get("/v1/approvals"))["items"]
    [found] = (await ada.get("/v1/exceptions"))["items"]
    return {
        "run": asked["run_id"],
        "approval": asked["task"],
        "task": asked["task"],
        "exception": found["exception_id"],
        "workflow": "refunds",
        "step": "pay",
        "bulk": "of-nobody",
        "view": "runs",
        "wish": "pause",
        "action": "retry",
        "owner": "team:support",
        "cause": found["cause"],
        "key": "none",
        "user": "ada",
    }


NO_LISTS = (
    *("export_audit", "export_payload_readings", "list_view_builds"),
    *("publish_trigger", "publish_triggers", "list_views", "follow_changes"),
    *("set_absence", "end_absence", "change_own_password"),
)
NARROWED: list[dict[str, Any]] = [
    {"workflows": ["leads"]},
    {"queues": ["team:enterprise", "team:revops", "queue:triage"]},
    {"workflows": ["leads", "refunds"], "queues": ["team:enterprise"]},
    {"workflows": []},
]


async def test_what_another_team_has_is_not_found_by_any_route(meshline: Installation) -> None:
    async with meshline.as_("user:ada", "admin") as ada:
        other = await other_teams(ada)
        await meshline.until_seen("history", "ownership", "exceptions", "tasks", "triggers")
        mine = (await ada.post("/v1/triggers", ADA, source=SOURCE, id="F-1"))["run_id"]
        await reaches(ada, mine, "waiting")
        at = datetime.now(UTC).isoformat()
        for narrowed in NARROWED:
            sees_own = narrowed != {"workflows": []}
            async with meshline.as_("user:eve", "admin", **narrowed) as eve:
                for route in routes():
                    if route.name == "receive_webhook":
                        continue  # It is for who has its secret, and shows nothing.
                    if NEEDS[route.name] == "admit":
                        # Keys are of all teams: no admin of one sees or changes any.
                        answer = await called(eve.http, route, **other)
                        assert answer.status_code == 403, f"{route.name} {narrowed}"
                    elif "{" in route.path and route.name != "list_possessions":
                        answer = await called(eve.http, route, **other)
                        assert answer.status_code == 404, f"{route.name} {narrowed}"
                    elif route.name not in NO_LISTS:
                        listed = await eve.get(route.path.format(**other))
                        assert "refunds" not in str(listed), f"{route.name} {narrowed}"
                        assert "support" not in str(listed), f"{route.name} {narrowed}"
                runs = (await eve.get("/v1/runs"))["items"]
                then = (await eve.get("/v1/runs", as_of=at))["items"]
                assert [run["run_id"] for run in runs] == ([mine] if sees_own else [])
                assert [run["run_id"] for run in then] == ([mine] if sees_own else [])
                refused = await eve.post("/v1/triggers", {}, status=403, source=REFUNDS, id="7")
                assert refused["code"] == "ML6002"
        assert (await ada.get(f"/v1/runs/{other['run']}"))["state"] == "waiting"


async def test_a_team_sees_its_own_by_workflow_by_owner_and_by_route(
    meshline: Installation,
) -> None:
    async with meshline.as_("user:ada", "admin") as ada:
        other = await other_teams(ada)
        await meshline.until_seen("history", "ownership", "exceptions", "tasks", "triggers")
        for narrowed in ({"workflows": ["refunds"]}, {"queues": ["queue:support"]}):
            async with meshline.as_("user:sue", "viewer", **narrowed) as sue:
                for route in routes():
                    # Nobody has claimed anything, and nobody is away; a viewer may see no audit.
                    is_empty = route.name in (
                        *("list_person_loads", "list_absences", "list_handovers"),
                        *("list_audit", "export_audit", "list_readings", "export_payload_readings"),
                        "step_payloads",  # The run that asks has begun no step yet.
                        # Views are of all teams, and kept by admins.
                        *("list_view_builds", "show_rebuilds", "diff_of_view", "list_parked"),
                    )
                    is_empty |= NEEDS[route.name] == "admit"  # Keys are of all teams.
                    is_list = route.name not in ("list_views", "follow_changes") and not is_empty
                    is_list &= "bulk" not in route.name  # Lists are of the team who made them.
                    if route.methods == {"GET"} and is_list:
                        found = await sue.get(route.path.format(**other))
                        assert found.get("items", [1]), f"{route.name} {narrowed}"
        # The lead who is asked sees the question, and not the run.
        async with meshline.as_("user:lou", "approver", queues=["role:lead"]) as lou:
            assert len((await lou.get("/v1/approvals"))["items"]) == 1
            assert (await lou.get("/v1/runs"))["items"] == []


async def rejections(client: Client, run_id: str, count: int) -> list[Any]:
    """Return the refusals in the history of a run, as soon as there are so many."""
    async with asyncio.timeout(90):
        while True:
            history = (await client.get(f"/v1/runs/{run_id}/history"))["items"]
            found = [e for e in history if e["type"] == "meshline.request.rejected.v1"]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.05)


async def test_what_was_refused_stands_in_the_history_with_who_asked(
    meshline: Installation,
) -> None:
    async with (
        meshline.as_("user:ada", "admin") as ada,
        meshline.as_("user:eve", "viewer") as eve,
        meshline.as_("user:far", "operator", workflows=["leads"]) as far,
        meshline.as_("service:shop", "source", sources=["shop.orders"]) as shop,
        meshline.as_(None) as nobody,
    ):
        other = await other_teams(ada)
        await meshline.until_seen("history", "ownership", "exceptions", "tasks", "triggers")
        run = other["run"]
        await eve.post(f"/v1/runs/{run}/cancel", status=403)
        await far.post(f"/v1/runs/{run}/pause", status=404)
        await shop.post("/v1/triggers", {}, status=403, source=REFUNDS, id="7")
        await nobody.post(f"/v1/runs/{run}/resume", status=401)
        found = await rejections(ada, run, 4)
        await eve.post(
            f"/v1/exceptions/{other['exception']}/actions", {"action": "retry"}, status=403
        )
        held = (await ada.get(f"/v1/exceptions/{other['exception']}"))["run_id"]
        [about] = await rejections(ada, held, 1)

    told = {e["actor"]: (e["data"]["request"], e["data"]["code"]) for e in found}
    assert told == {
        "user:eve": ("meshline.cancel.requested", "ML6002"),
        "user:far": ("meshline.pause.requested", "ML6005"),
        "service:shop": ("meshline.trigger.received", "ML6002"),
        "anonymous": ("meshline.resume.requested", "ML6001"),
    }
    assert about["data"]["request"] == "meshline.exception.action.requested"


async def test_a_flood_of_refused_calls_is_counted_and_does_not_fill_the_log(
    meshline: Installation,
) -> None:
    async with meshline.as_("user:ada", "admin") as ada, meshline.as_("user:eve", "viewer") as eve:
        run = (await other_teams(ada))["run"]
        before, start_s = sum((await meshline.log.ends()).values()), time.monotonic()
        for number in range(200):
            await eve.post(f"/v1/runs/{run}/cancel", status=403)
            if number % 50 == 0:
                await rejections(ada, run, 1)
        await meshline.services.refusals.aclose()
        after = sum((await meshline.log.ends()).values())
        found = await rejections(ada, run, 2)
        told: list[int] = []
        async with asyncio.timeout(90):
            while sum(told) < 200:
                history = (await ada.get(f"/v1/runs/{run}/history"))["items"]
                reports = [e for e in history if e["type"] == "meshline.refusal.reported.v1"]
                told = [report["data"]["times"] for report in reports]

    # Each is a request and its answer, one for each gap that went by.
    assert after - before <= 2 * ((time.monotonic() - start_s) / GAP_S + 3)
    assert after - before < 200
    assert "times alike" in found[-1]["data"]["reason"]
    assert sum(told) == 200


async def test_a_refusal_of_what_there_is_not_leaves_nothing(meshline: Installation) -> None:
    async with meshline.as_("user:eve", "viewer") as eve:
        before = await meshline.log.ends()
        await eve.post("/v1/runs/none/cancel", status=403)
        await meshline.services.refusals.aclose()

        assert await meshline.log.ends() == before


async def test_a_key_is_rotated_without_a_gap(meshline: Installation) -> None:
    async with meshline.as_("user:eve", "viewer", workflows=["leads"]) as eve:
        old = eve.http.headers["Authorization"]
        key_id = old.split("_")[1]
        made, secret = await meshline.keys.rotate(key_id, made_by="user:test", overlap_s=60)
        await eve.get("/v1/runs")
        eve.http.headers["Authorization"] = f"Bearer {secret}"
        await eve.get("/v1/runs")
        await meshline.keys.rotate(made.id, made_by="user:test", overlap_s=0)
        await eve.get("/v1/runs", status=401)

    assert (made.actor, made.roles, made.workflows) == ("user:eve", ["viewer"], ["leads"])


async def test_who_reads_a_payload_is_noted(
    meshline: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        meshline.as_("user:ada", "admin") as ada,
        meshline.as_("user:aud", "auditor") as aud,
        meshline.as_("user:eve", "viewer") as eve,
    ):
        run = (await other_teams(ada))["run"]
        caplog.set_level(logging.INFO, "meshline.audit")
        caplog.clear()
        await eve.get(f"/v1/runs/{run}/history")
        seen_by_eve = caplog.text
        await aud.get(f"/v1/runs/{run}/history")

    assert seen_by_eve == ""
    assert f"user:aud read data of run {run}" in caplog.text


def test_an_api_with_a_route_that_states_nothing_cannot_be_built() -> None:
    from fastapi import APIRouter, Depends

    from meshline.api.access import requires
    from meshline.api.principals import Permission

    async def answer() -> None: ...

    open_to_all, silent, threaded = APIRouter(), APIRouter(), APIRouter()
    open_to_all.get("/open")(answer)
    silent.post("/silent", dependencies=[Depends(requires(Permission.OPERATE))])(answer)
    needs = [Depends(requires(Permission.READ)), Depends(lambda: None)]
    threaded.get("/threaded", dependencies=needs)(answer)

    with pytest.raises(AssertionError, match="/open states no permission"):
        check_every_route([open_to_all], frozenset())
    with pytest.raises(AssertionError, match="/silent does not state what it appends"):
        check_every_route([silent], frozenset())
    with pytest.raises(AssertionError, match="/threaded has a dependency that needs a thread"):
        check_every_route([threaded], frozenset())
