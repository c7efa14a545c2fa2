"""Why, what failed, and what went in and out, over HTTP and on the command line."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from meshline.cli.exits import Exit
from meshline.cli.main import run as type_in
from meshline.cli.serve import listening
from meshline.events.ids import run_id_of
from meshline.projections.reasons import QUESTIONS
from meshline.workflow.registry import Registry
from tests.api.installation import Client, Installation, installed, reaches
from tests.api.leads import SOURCE, leads
from tests.api.test_desk import ADA, asking

pytestmark = pytest.mark.postgres

SMALL = ADA | {"employees": 3}
NOBODY = SMALL | {"company": "Nobody"}


@pytest.fixture
async def meshline(postgres_address: str) -> AsyncIterator[Installation]:
    async with installed(postgres_address, Registry(leads)) as installation:
        yield installation


async def test_why_is_told_with_the_event_that_says_so_by_question_and_by_thing(
    meshline: Installation,
) -> None:
    async with meshline.as_("user:ada", "admin") as ada:
        run = await asking(ada)
        await meshline.until_seen("history")
        reasons = (await ada.get(f"/v1/runs/{run}/reasons"))["items"]
        waits = (await ada.get(f"/v1/runs/{run[:12]}/reasons", question="waits"))["items"]
        of_one = (await ada.get(f"/v1/runs/{run}/reasons", about="big_deal"))["items"]
        pages = []
        after: dict[str, Any] = {}
        while True:
            page = await ada.get(f"/v1/runs/{run}/reasons", limit=2, **after)
            pages += page["items"]
            if page["next"] is None:
                break
            after = {"after": page["next"]}
        history = (await ada.get(f"/v1/runs/{run}/history"))["items"]
        await ada.get(f"/v1/runs/{run}/reasons", question="whence", status=422)

    order = [reason["question"] for reason in reasons]
    assert order == sorted(order, key=[*QUESTIONS].index)
    assert {"started", "owner", "waits"} <= set(order)
    assert pages == reasons
    assert waits == [reason for reason in reasons if reason["question"] == "waits"]
    assert of_one == [reason for reason in reasons if reason["about"] == "big_deal"]
    assert len(of_one) > 0
    assert {reason["position"] for reason in reasons} <= {
        f"{event['partition']}:{event['log_offset']}" for event in history
    }


async def test_who_may_read_no_payloads_is_told_all_but_what_rules_saw(
    meshline: Installation,
) -> None:
    async with (
        meshline.as_("user:ada", "admin") as ada,
        meshline.as_("user:vic", "viewer") as vic,
    ):
        run = await asking(ada)
        told = (await ada.get(f"/v1/runs/{run}/reasons"))["items"]
        hidden = (await vic.get(f"/v1/runs/{run}/reasons"))["items"]

    assert any(reason["saw"] for reason in told)
    assert hidden == [reason | {"saw": None} for reason in told]
    assert "ada@example.org" not in str(hidden)


async def test_a_trigger_that_started_nothing_is_explained_and_what_nobody_knows_is_not_found(
    meshline: Installation,
) -> None:
    async with (
        meshline.as_("user:ada", "admin") as ada,
        meshline.as_("user:eve", "admin", workflows=["refunds"]) as eve,
    ):
        refused = await ada.post("/v1/triggers", {}, status=422, source=SOURCE, id="F-2")
        run = run_id_of(SOURCE, "F-2")
        reasons = await ada.get(f"/v1/runs/{run}/reasons", min_position=refused["position"])
        await ada.get(f"/v1/runs/{run_id_of(SOURCE, 'none')}/reasons", status=404)
        await eve.get(f"/v1/runs/{run}/reasons", status=404)

    assert {reason["question"] for reason in reasons["items"]} == {"refused"}


async def test_explain_says_over_a_server_what_it_says_where_the_log_is(
    meshline: Installation,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    postgres_address: str,
) -> None:
    async with (
        listening(meshline.api, "127.0.0.1", 0) as address,
        meshline.as_("user:ada", "admin") as ada,
        meshline.as_("user:vic", "viewer") as vic,
    ):
        await asking(ada)
        refused = await ada.post("/v1/triggers", {}, status=422, source=SOURCE, id="F-2")
        await ada.get("/v1/triggers", min_position=refused["position"])

        async def typed(*words: str, who: Client | None = None) -> str:
            monkeypatch.delenv("MESHLINE_SERVER", raising=False)
            where = ["--log", postgres_address]
            if who is not None:
                key = who.http.headers["Authorization"].removeprefix("Bearer ")
                monkeypatch.setenv("MESHLINE_KEY", key)
                where = ["--server", address]
            code = await asyncio.to_thread(type_in, ["explain", *words, *where])
            said = capsys.readouterr()
            assert code == Exit.OK, said
            return said.out

        run = f"{SOURCE}/F-1"
        here, there = await typed(run), await typed(run, who=ada)
        hidden = await typed(run, who=vic)
        refused_here = await typed(SOURCE, "F-2")
        refused_there = await typed(SOURCE, "F-2", who=ada)

    assert there == here
    assert "it saw" in here
    assert hidden == re.sub(r" +it saw .*\n", "", here)
    assert refused_there == refused_here


async def test_a_history_is_narrowed_to_what_failed_to_types_and_to_an_actor(
    meshline: Installation,
) -> None:
    async with meshline.as_("user:ada", "admin") as ada:
        run = (await ada.post("/v1/triggers", NOBODY, source=SOURCE, id="F-1"))["run_id"]
        await reaches(ada, run, "held")
        noted = await ada.post(f"/v1/runs/{run}/notes", {"text": "who is that?"})
        path = f"/v1/runs/{run}/history"
        whole = await ada.get(path, min_position=noted["position"])
        failed = await ada.get(path, failed=True)
        steps = await ada.get(path, type=["step.failed", "meshline.step.started.v1"])
        both = await ada.get(path, failed=True, type="step.started")
        of_ada = await ada.get(path, actor="user:ada")
        wrong = await ada.get(path, type="step.exploded", status=422)

    def types(page: Any) -> list[str]:
        return [each["type"] for each in page["items"]]

    assert types(failed) == ["meshline.step.failed.v1", "meshline.exception.opened.v1"]
    assert types(steps) == ["meshline.step.started.v1", "meshline.step.failed.v1"]
    assert types(both) == []
    assert {each["actor"] for each in of_ada["items"]} == {"user:ada"}
    assert 0 < len(of_ada["items"]) < len(whole["items"])
    assert "'step.exploded' is said of no run" in str(wrong)


async def test_what_a_try_took_and_gave_is_told_hidden_kept_and_the_same_at_both_ends(
    meshline: Installation,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    postgres_address: str,
) -> None:
    async with (
        listening(meshline.api, "127.0.0.1", 0) as address,
        meshline.as_("user:ada", "admin") as ada,
        meshline.as_("user:vic", "viewer") as vic,
    ):
        run = await asking(ada)
        path = f"/v1/runs/{run}/steps/enrich/payloads"
        [enriched] = (await ada.get(path))["items"]
        [whole] = (await ada.get(f"/v1/runs/{run}/payloads"))["items"]
        [hidden] = (await vic.get(path))["items"]
        none = await ada.get(f"/v1/runs/{run}/steps/nothing/payloads", status=404)
        [of_run, of_step] = (await ada.get("/v1/audit/readings", run=run))["items"][:2]

        async def typed(*where: str) -> Any:
            words = ["run", "payloads", run, "enrich", "--output", "json", *where]
            code = await asyncio.to_thread(type_in, words)
            said = capsys.readouterr()
            assert code == Exit.OK, said
            return orjson.loads(said.out)

        here = await typed("--log", postgres_address)
        key = ada.http.headers["Authorization"].removeprefix("Bearer ")
        monkeypatch.setenv("MESHLINE_KEY", key)
        there = await typed("--server", address)

    assert (enriched["taken"], enriched["gave"]) == ({"trigger": ADA}, "Acme Ltd")
    assert (whole["state"], whole["taken"], whole["gave"]) == ("running", {"trigger": ADA}, None)
    assert (hidden["state"], hidden["taken"], hidden["gave"]) == ("succeeded", None, None)
    assert "has begun no step 'nothing'" in none["detail"]
    assert of_step["about"] == f"enrich of run {run}"
    assert of_step["positions"] == [enriched["position"]] and of_run["about"] == f"run {run}"
    assert here == there and here[0]["gave"] == "Acme Ltd"
