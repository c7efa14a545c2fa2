"""The audit over HTTP: who asked for what, and what they were refused; as a list and as a file."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from meshline.api.exports import neutral
from meshline.projections.errors import StoreUnavailable
from meshline.projections.readings import Readings
from meshline.workflow.registry import Registry
from tests.api.installation import Client, Installation, installed, reaches
from tests.api.leads import SOURCE, leads
from tests.api.refunds import REFUNDS, refunds

pytestmark = pytest.mark.postgres

ADA = {"email": "ada@example.org", "company": "Acme", "employees": 900}
FORMULA = '=HYPERLINK("http://evil","x")'


@pytest.fixture
async def meshline(postgres_address: str) -> AsyncIterator[Installation]:
    async with installed(postgres_address, Registry(leads, refunds)) as installation:
        yield installation


async def listed(client: Client, count: int, **query: Any) -> list[Any]:
    """Return the list, as soon as so many are on it."""
    async with asyncio.timeout(90):
        while True:
            answer = await client.http.get("/v1/audit", params=query)
            assert answer.status_code == 200, answer.text
            items: list[Any] = answer.json()["items"]
            if len(items) >= count:
                return items
            await asyncio.sleep(0.05)


async def happened(ada: Client, eve: Client) -> dict[str, str]:
    """Let two teams have a run each; one is paused and cancelled, and others try to."""
    runs = {}
    for source, payload in ((SOURCE, ADA), (REFUNDS, {"order": "7"})):
        answer = await ada.post("/v1/triggers", payload, source=source, id="1", wait_s=30)
        runs[source] = answer["run_id"]
        await reaches(ada, answer["run_id"], "waiting")
    run = runs[REFUNDS]
    await ada.post(f"/v1/runs/{run}/pause", {"reason": FORMULA})
    await ada.post(f"/v1/runs/{run}/cancel", {"reason": "of no use"})
    await ada.post(f"/v1/runs/{run}/cancel", {"reason": "once more"}, status=409)
    await eve.post(f"/v1/runs/{runs[SOURCE]}/pause", status=403)
    return runs


async def test_it_says_who_asked_for_what_when_and_why_and_what_came_of_it(
    meshline: Installation,
) -> None:
    async with meshline.as_("user:ada", "admin") as ada, meshline.as_("user:eve", "viewer") as eve:
        began = datetime.now(UTC).isoformat()
        runs = await happened(ada, eve)
        items = await listed(ada, 4)
        by_eve = await listed(ada, 1, actor="user:eve")
        refused = await listed(ada, 2, status="refused")
        cancels = await listed(ada, 2, action="cancel", workflow="refunds")
        of_run = await listed(ada, 3, run=runs[REFUNDS])
        before = (await ada.get("/v1/audit", until=began))["items"]
        first = await ada.get("/v1/audit", limit=3, since=began)
        rest = await ada.get("/v1/audit", limit=3, since=began, after=first["next"])

    told = [(i["actor"], i["action"], i["status"], i["reason"], i["led_to"]) for i in items]
    assert sorted(told, key=str) == [
        ("user:ada", "cancel", "asked", "of no use", "meshline.run.cancelled.v1"),
        ("user:ada", "cancel", "refused", "once more", None),
        ("user:ada", "pause", "asked", FORMULA, "meshline.run.paused.v1"),
        ("user:eve", "pause", "refused", "", None),
    ]
    assert items == sorted(items, key=lambda i: i["recorded_at"], reverse=True)
    assert [(i["run_id"], i["code"]) for i in by_eve] == [(runs[SOURCE], "ML6002")]
    assert {i["actor"] for i in refused} == {"user:ada", "user:eve"}
    assert [i["reason"] for i in cancels] == ["once more", "of no use"]
    assert len(of_run) == 3 and before == []
    assert first["items"] + rest["items"] == items and rest["next"] is None


async def test_an_auditor_of_one_team_sees_what_was_done_to_its_runs(
    meshline: Installation,
) -> None:
    async with (
        meshline.as_("user:ada", "admin") as ada,
        meshline.as_("user:eve", "viewer") as eve,
        meshline.as_("user:aud", "auditor", workflows=["refunds"]) as aud,
    ):
        runs = await happened(ada, eve)
        await listed(ada, 4)
        own = await listed(aud, 3)
        exported = (await aud.http.get("/v1/audit/export?format=jsonl")).text

    assert {i["run_id"] for i in own} == {runs[REFUNDS]}
    assert {orjson.loads(line)["run_id"] for line in exported.splitlines()} == {runs[REFUNDS]}


async def test_all_of_it_is_sent_as_a_file_that_no_spreadsheet_takes_for_formulas(
    meshline: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meshline.api.audit.LIMIT_MAX", 2)
    async with meshline.as_("user:ada", "admin") as ada, meshline.as_("user:eve", "viewer") as eve:
        await happened(ada, eve)
        items = await listed(ada, 4)
        lines = await ada.http.get("/v1/audit/export", params={"format": "jsonl"})
        table = await ada.http.get("/v1/audit/export", params={"format": "csv"})
        cancels = await ada.http.get(
            "/v1/audit/export", params={"format": "csv", "action": "cancel"}
        )
        wrong = await ada.get("/v1/audit/export", status=422, format="csv", action="dance")

    assert [orjson.loads(line) for line in lines.text.splitlines()] == items
    assert table.headers["content-type"] == "text/csv; charset=utf-8"
    assert "attachment" in table.headers["content-disposition"]
    rows = [*csv.DictReader(io.StringIO(table.text))]
    assert [row["event_id"] for row in rows] == [item["event_id"] for item in items]
    assert f"'{FORMULA}" in {row["reason"] for row in rows}
    assert len([*csv.DictReader(io.StringIO(cancels.text))]) == 2
    assert "owner.change" in wrong["errors"][0]["message"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_cell_that_begins_like_a_formula_is_quoted(text: str) -> None:
    assert neutral(text) == f"'{text}"
    assert neutral(f"a{text}") == f"a{text}"


async def test_who_reads_payloads_stands_on_a_list_of_its_own_once_for_each_answer(
    meshline: Installation,
) -> None:
    async with (
        meshline.as_("user:ada", "admin") as ada,
        meshline.as_("user:aud", "auditor") as aud,
        meshline.as_("user:team", "auditor", workflows=["refunds"]) as team,
        meshline.as_("user:eve", "viewer") as eve,
    ):
        runs = await happened(ada, eve)
        lead, refund = runs[SOURCE], runs[REFUNDS]
        before = (await aud.get("/v1/audit/readings", actor="user:aud"))["items"]
        await meshline.until_seen("history")
        history = (await aud.get(f"/v1/runs/{lead}/history"))["items"]
        await aud.get("/v1/triggers")
        await aud.get(f"/v1/runs/{lead}")
        await eve.get(f"/v1/runs/{lead}/history")
        [triggers, of_lead] = (await aud.get("/v1/audit/readings", actor="user:aud"))["items"]
        by_eve = (await aud.get("/v1/audit/readings", actor="user:eve"))["items"]
        of_refund = (await aud.get("/v1/audit/readings", run=refund))["items"]
        leads_only = (await aud.get("/v1/audit/readings", workflow="leads"))["items"]
        of_team = (await team.get("/v1/audit/readings"))["items"]
        await eve.get("/v1/audit/readings", status=403)
        table = await aud.http.get("/v1/audit/readings/export", params={"format": "csv"})

    assert before == [] and by_eve == []
    assert (of_lead["what"], of_lead["about"]) == ("data", f"run {lead}")
    assert of_lead["run_ids"] == [lead] and of_lead["items"] == len(history)
    assert of_lead["positions"] == [f"{e['partition']}:{e['log_offset']}" for e in history]
    assert of_lead["credential"].startswith("key ")
    assert triggers["run_ids"] == sorted(runs.values()) and triggers["items"] == 2
    assert [each["number"] for each in of_refund] == [triggers["number"]]
    assert of_lead in leads_only and of_lead not in of_team
    # One answer that is of two teams is of both.
    assert [each["number"] for each in of_team] == [triggers["number"]]
    lines = [*csv.DictReader(io.StringIO(table.text))]
    assert [line["what"] for line in lines] == ["payload, problems", "data"]
    assert lines[1]["run_ids"] == lead


async def test_a_payload_is_not_shown_where_it_can_not_be_kept_who_reads_it(
    meshline: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(self: Readings, rows: object) -> None:
        raise StoreUnavailable("PostgreSQL is away.")

    async with meshline.as_("user:ada", "admin") as ada, meshline.as_("user:eve", "viewer") as eve:
        answer = await ada.post("/v1/triggers", ADA, source=SOURCE, id="1", wait_s=30)
        run_id = answer["run_id"]
        await reaches(ada, run_id, "waiting")
        monkeypatch.setattr(Readings, "_write", away)
        refused = await ada.get(f"/v1/runs/{run_id}/history", status=503)
        masked = await eve.get(f"/v1/runs/{run_id}/history")

    assert "Acme" not in str(refused)
    assert {each["data"] for each in masked["items"]} == {None}
