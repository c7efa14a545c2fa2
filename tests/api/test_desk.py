"""Asking: with tags of what was seen, with keys to ask twice, in pages, with known words."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any

import pytest

from meshline.api import people, runs, triggers
from meshline.cli import approval as approval_commands
from meshline.cli import exception as exception_commands
from meshline.cli import run as run_commands
from meshline.cli import trigger as trigger_commands
from meshline.workflow.registry import Registry
from tests.api.installation import Client, Installation, installed, reaches
from tests.api.leads import SOURCE, leads

pytestmark = pytest.mark.postgres

ADA = {"email": "ada@example.org", "company": "Acme", "employees": 900}


@pytest.fixture
async def meshline(postgres_address: str) -> AsyncIterator[Installation]:
    async with installed(postgres_address, Registry(leads)) as installation:
        yield installation


async def asking(ada: Client) -> str:
    """Return a run that waits for an approval."""
    run: str = (await ada.post("/v1/triggers", ADA, source=SOURCE, id="F-1"))["run_id"]
    await reaches(ada, run, "waiting")
    return run


async def test_who_acts_on_what_is_no_longer_so_is_told_and_nothing_happens(
    meshline: Installation,
) -> None:
    async with meshline.as_("user:ada", "admin") as ada:
        run = await asking(ada)
        for path, act, body in (
            (f"/v1/runs/{run}", "/owner", {"owner": "user:eve"}),
            (f"/v1/runs/{run}/approvals/big_deal", "", {"decision": "approved"}),
        ):
            seen = (await ada.http.get(path)).headers["etag"]
            other = {"If-Match": '"0123"'}
            stale = await ada.http.post(path + act, json=body, headers=other)
            known = await ada.http.get(path, headers={"If-None-Match": seen})
            right = await ada.http.post(path + act, json=body, headers={"If-Match": f'"0", {seen}'})

            assert (stale.status_code, stale.json()["code"]) == (412, "ML6006")
            assert "nothing was done" in stale.json()["detail"]
            assert (known.status_code, known.content) == (304, b"")
            assert right.status_code == 202, right.text
        done = await reaches(ada, run, "succeeded")
        late = await ada.http.post(
            f"/v1/runs/{run}/owner", json={"owner": "user:bob"}, headers={"If-Match": '"0"'}
        )

    assert done["owner"] == "user:eve"
    assert "it is succeeded now, with user:eve" in late.json()["detail"]


async def test_asking_again_with_the_same_key_asks_once(meshline: Installation) -> None:
    async with meshline.as_("user:ada", "admin") as ada, meshline.as_("user:bob", "admin") as bob:
        run = await asking(ada)
        path, key = f"/v1/runs/{run}/pause", {"Idempotency-Key": "P-1"}

        async def pause(client: Client, reason: str) -> tuple[int, Any]:
            answer = await client.http.post(path, json={"reason": reason}, headers=key)
            return answer.status_code, answer.json()

        first = await asyncio.gather(*(pause(ada, "lunch") for _ in range(5)))
        other = await pause(ada, "dinner")
        others = await pause(bob, "lunch")
        again = await pause(bob, "lunch")
        await meshline.until_seen("history")
        history = (await ada.get(f"/v1/runs/{run}/history"))["items"]

    assert [answer == (202, first[0][1]) for answer in first] == [True] * 5
    assert (other[0], other[1]["code"]) == (422, "ML6007")
    assert (others[0], others[1]["code"]) == (409, "already_paused")
    assert others == again
    asked = [e for e in history if e["type"] == "meshline.pause.requested.v1"]
    assert [e["actor"] for e in asked] == ["user:ada", "user:bob"]


LISTS = [
    *("/v1/workflows", "/v1/views", "/v1/owners", "/v1/triggers"),
    *("/v1/runs/{run}/history", "/v1/runs/{run}/owners", "/v1/approvals"),
]


def bare(rows: list[Any]) -> list[Any]:
    """Rows without what counts on by itself."""
    return [{k: v for k, v in row.items() if k not in ("seconds", "events")} for row in rows]


async def test_every_list_comes_in_pages_and_a_page_that_nobody_said_is_not_found(
    meshline: Installation,
) -> None:
    async with meshline.as_("user:ada", "admin") as ada:
        run = await asking(ada)
        for path in LISTS:
            path = path.format(run=run)
            whole = (await ada.get(path))["items"]
            found: list[Any] = []
            page: dict[str, Any] = {"next": ""}
            while page["next"] is not None:
                after = {"after": page["next"]} if page["next"] else {}
                page = await ada.get(path, limit=1, **after)
                found += page["items"]
            for forged in ("x", "WyJhIl0", "W10", "_"):
                answer = await ada.get(path, status=404, after=forged)
                assert answer["code"] == "ML5007"

            assert bare(found)[: len(whole)] == bare(whole), path
            assert found, path


async def test_a_workflow_is_shown_with_its_graph(meshline: Installation) -> None:
    async with meshline.as_("user:ada", "admin") as ada:
        newest = await ada.get("/v1/workflows/leads")
        same = await ada.get("/v1/workflows/leads", version=1)
        await ada.get("/v1/workflows/leads", version=2, status=404)

    assert newest == same
    assert {"enrich", "big_deal", "file_it"} <= {node["name"] for node in newest["spec"]["nodes"]}


@pytest.mark.parametrize(
    ("command", "route"),
    [
        (run_commands.list_runs, runs.list_runs),
        (exception_commands.list_exceptions, people.list_exceptions),
        (exception_commands.groups, people.exception_groups),
        (approval_commands.list_approvals, people.list_approvals),
        (trigger_commands.list_triggers, triggers.list_triggers),
    ],
)
def test_lists_have_the_filters_of_the_command_line(command: Any, route: Any) -> None:
    asked = set(inspect.signature(command).parameters) - {"call"}

    assert asked <= set(inspect.signature(route).parameters)


async def test_a_filter_that_there_is_not_is_refused(meshline: Installation) -> None:
    async with meshline.as_("user:ada", "admin") as ada:
        refused = await ada.get("/v1/runs", status=422, stat="held")
        typed = await ada.post("/v1/runs/none/cancel", {"reson": "typed"}, status=422)

    assert refused["errors"][0]["parameter"] == "stat"
    assert "state" in refused["detail"]
    assert typed["errors"][0]["pointer"] == "/reson"
