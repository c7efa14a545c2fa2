"""The API over a whole installation: what a program can do with it, and what nobody can."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from meshline.workflow.registry import Registry
from tests.api.installation import Client, Installation, installed, reaches
from tests.api.leads import SOURCE, leads

pytestmark = pytest.mark.postgres

ADA = {"email": "ada@example.org", "company": "Acme", "employees": 900}


@pytest.fixture
async def meshline(postgres_address: str) -> AsyncIterator[Installation]:
    async with installed(postgres_address, Registry(leads)) as installation:
        yield installation


async def published(client: Client, trigger_id: str, payload: Any, **query: Any) -> Any:
    return await client.post("/v1/triggers", payload, source=SOURCE, id=trigger_id, **query)


async def test_from_a_form_to_the_next_system_with_an_approval(meshline: Installation) -> None:
    async with (
        meshline.as_("service:web", "source", sources=[SOURCE]) as web,
        meshline.as_("user:grace", "approver") as grace,
    ):
        first = await published(web, "F-1", ADA)
        again = await published(web, "F-1", ADA)
        waiting = await reaches(grace, first["run_id"], "waiting")
        [asked] = (await grace.get("/v1/approvals", owner=waiting["owner"]))["items"] or (
            await grace.get("/v1/approvals")
        )["items"]
        decided = await grace.post(
            f"/v1/runs/{first['run_id']}/approvals/{asked['task']}", {"decision": "approved"}
        )
        done = await reaches(grace, first["run_id"], "succeeded")
        await meshline.until_seen("history")
        history = (await grace.get(f"/v1/runs/{first['run_id']}/history"))["items"]

    assert (first["status"], again["status"]) == ("accepted", "repeated")
    assert again["run_id"] == first["run_id"]
    assert decided["status"] == "accepted"
    assert done["outcome"]["crm_id"].startswith("Acme Ltd-")
    assert (done["owner"], done["exception_route"]) == ("team:enterprise", "queue:triage")
    said_by = {event["type"]: event["actor"] for event in history}
    assert said_by["meshline.trigger.received.v1"] == "service:web"
    assert said_by["meshline.approval.submitted.v1"] == "user:grace"
    assert said_by["meshline.approval.approved.v1"] == "user:grace"


async def test_a_denial_ends_the_run_and_a_second_answer_is_a_conflict(
    meshline: Installation,
) -> None:
    async with meshline.as_("user:ada", "admin") as ada:
        run = (await published(ada, "F-2", ADA))["run_id"]
        await reaches(ada, run, "waiting")
        denied = {"decision": "denied", "reason": "no budget"}
        await ada.post(f"/v1/runs/{run}/approvals/big_deal", denied)
        await reaches(ada, run, "cancelled")
        refused = await ada.post(f"/v1/runs/{run}/approvals/big_deal", denied, status=409)
        at = refused["position"]
        history = (await ada.get(f"/v1/runs/{run}/history", min_position=at))["items"]

    assert refused["code"] == "already_ended"
    assert refused["run_id"] == run
    assert any(e["type"] == "meshline.request.rejected.v1" for e in history)


async def test_a_step_that_fails_is_an_exception_that_is_repaired(meshline: Installation) -> None:
    async with meshline.as_("user:ada", "operator", "source") as ada:
        run = (await published(ada, "F-3", ADA | {"company": "Nobody", "employees": 3}))["run_id"]
        await reaches(ada, run, "held")
        [group] = (await ada.get("/v1/exception-groups"))["items"]
        [found] = (await ada.get("/v1/exceptions", cause=group["cause"]))["items"]
        path = f"/v1/exceptions/{found['exception_id']}"
        await ada.post(f"{path}/actions", {"action": "assign", "owner": "user:bob"})
        answer = await ada.post(f"{path}/actions", {"action": "skip", "value": "By hand"})
        done = await reaches(ada, run, "succeeded")
        resolved = await ada.get(path, min_position=answer["position"])
        said = {"action": "resolve", "in_version": 2, "reason": "asks another directory"}
        mend = f"/v1/exception-groups/{group['cause']}/actions"
        answers = (await ada.post(mend, said))["items"]
        for each in answers:
            await ada.get(path, min_position=each["position"])
        [mended] = (await ada.get("/v1/exception-groups", all=True))["items"]
        seen = await ada.get(f"/v1/exception-groups/{group['cause']}")
        await ada.get("/v1/exception-groups/000000000000", status=404)
        await ada.post("/v1/exception-groups/000000000000/actions", said, status=404)

    assert [each["status"] for each in answers] == ["accepted", "accepted"]
    assert (group["state"], mended["state"], mended["in_version"], mended["resolved_by"]) == (
        "open", "resolved", 2, "user:ada",
    )  # fmt: skip
    assert seen["group"] == mended
    assert [(h["workflow"], h["source"], h["total"], h["open"]) for h in seen["hits"]] == [
        ("leads", SOURCE, 1, 0)
    ]
    assert (seen["unit"], len(seen["opened"])) == ("hour", 48)
    assert sum(each["exceptions"] for each in seen["opened"]) == 1
    assert (found["route"], found["kind"]) == ("queue:triage", "step_failed")
    assert found["error"]["type"] == "LookupError"
    assert answer["status"] == "accepted"
    assert done["outcome"]["crm_id"].startswith("By hand-")
    assert (resolved["state"], resolved["resolved_by"]) == ("resolved", "user:ada")


async def test_a_run_is_handed_over_and_its_owners_are_told(meshline: Installation) -> None:
    async with meshline.as_("user:ada", "admin") as ada:
        run = (await published(ada, "F-4", ADA))["run_id"]
        await reaches(ada, run, "waiting")
        body = {"owner": "user:bob", "reason": "on leave"}
        answer = await ada.post(f"/v1/runs/{run}/owner", body)
        shown = await ada.get("/v1/runs", owner="user:bob", min_position=answer["position"])
        periods = (await ada.get(f"/v1/runs/{run}/owners", min_position=answer["position"]))[
            "items"
        ]

    assert answer["status"] == "accepted"
    assert shown["next"] is None
    assert [(p["owner"], p["until"] is None) for p in periods][-1] == ("user:bob", True)
    assert periods[-1]["reason"] == "on leave"
    assert periods[-1]["actor"] == "user:ada"


async def test_a_payload_that_does_not_fit_is_refused_with_pointers_and_kept(
    meshline: Installation,
) -> None:
    async with meshline.as_("user:ada", "admin") as ada:
        refused = await ada.post(
            "/v1/triggers", ADA | {"company": ""}, status=422, source=SOURCE, id="F-5"
        )
        broken = await ada.http.post(
            "/v1/triggers", params={"source": SOURCE, "id": "F-6"}, content=b'{"a": NaN}',
            headers={"Content-Type": "application/json"},
        )  # fmt: skip
        at = refused["position"]
        kept = (await ada.get("/v1/triggers", source=SOURCE, min_position=at))["items"]

    assert refused["errors"] == [
        {"pointer": "/company", "message": "String should have at least 1 character"}
    ]
    assert (broken.status_code, broken.json()["code"]) == (422, "unreadable")
    assert {row["trigger_id"]: row["status"] for row in kept}["F-5"] == "rejected"


async def test_many_triggers_go_in_at_once_and_each_is_answered(meshline: Installation) -> None:
    async with meshline.as_("service:web", "source", sources=[SOURCE]) as web:
        sent = [{"id": f"B-{n}", "payload": ADA | {"employees": 3}} for n in range(50)]
        sent[7] = {"id": "B-7", "payload": {"email": 1}}
        answer = await web.post("/v1/trigger-batches", {"triggers": sent}, source=SOURCE, wait_s=30)
        again = await web.post("/v1/trigger-batches", {"triggers": sent}, source=SOURCE, wait_s=30)
        other = await web.post("/v1/trigger-batches", {"triggers": sent}, 403, source="crm")

    statuses = [item["status"] for item in answer["items"]]
    assert [item["trigger_id"] for item in answer["items"]] == [each["id"] for each in sent]
    assert statuses == ["accepted"] * 7 + ["rejected"] + ["accepted"] * 42
    assert {item["status"] for item in again["items"]} == {"repeated", "rejected"}
    assert other["code"] == "ML6002"


async def test_pages_follow_each_other_and_hold_every_run_once(meshline: Installation) -> None:
    async with meshline.as_("user:ada", "admin") as ada:
        sent = [
            (await published(ada, f"P-{n}", ADA | {"employees": 3}))["run_id"] for n in range(7)
        ]
        for run in sent:
            await reaches(ada, run, "succeeded")
        found: list[str] = []
        after = None
        while True:
            page = await ada.get("/v1/runs", limit=3, **({"after": after} if after else {}))
            found += [run["run_id"] for run in page["items"]]
            after = page["next"]
            if after is None:
                break
        wrong = await ada.get("/v1/runs", status=404, after="no-page")

    assert sorted(found) == sorted(sent)
    assert found != sent
    assert "Begin again" in wrong["detail"]


async def test_a_list_can_be_of_a_past_moment(meshline: Installation) -> None:
    async with meshline.as_("user:ada", "admin") as ada:
        run = (await published(ada, "F-7", ADA))["run_id"]
        await reaches(ada, run, "waiting")
        then = datetime.now(UTC).isoformat()
        await ada.post(f"/v1/runs/{run}/cancel", {"reason": "withdrawn"})
        await reaches(ada, run, "cancelled")
        [before] = (await ada.get("/v1/runs", as_of=then))["items"]
        one = await ada.get(f"/v1/runs/{run}", as_of=then)
        [now] = (await ada.get("/v1/runs"))["items"]

    assert (before["state"], one["state"], now["state"]) == ("waiting", "waiting", "cancelled")


async def test_payloads_are_hidden_from_who_may_not_read_them(meshline: Installation) -> None:
    async with (
        meshline.as_("user:ada", "admin") as ada,
        meshline.as_("user:eve", "viewer") as eve,
    ):
        run = (await published(ada, "F-8", ADA | {"employees": 3}))["run_id"]
        await reaches(ada, run, "succeeded")
        seen = await eve.get(f"/v1/runs/{run}")
        await meshline.until_seen("history")
        history = (await eve.get(f"/v1/runs/{run}/history"))["items"]
        whole = (await ada.get(f"/v1/runs/{run}/history"))["items"]

    assert (seen["state"], seen["outcome"]) == ("succeeded", None)
    assert {event["data"] is None for event in history} == {True}
    assert not any(event["data"] is None for event in whole)


async def test_who_it_was_is_told_by_the_key_and_not_by_the_client(meshline: Installation) -> None:
    async with meshline.as_("service:web", "source", "auditor") as web:
        forged = {"authid": "user:boss", "ce-authid": "user:boss", "X-Actor": "user:boss"}
        answer = await web.http.post(
            "/v1/triggers", params={"source": SOURCE, "id": "F-9"}, json=ADA, headers=forged
        )
        run = answer.json()["run_id"]
        await reaches(web, run, "waiting")
        await meshline.until_seen("history")
        history = (await web.get(f"/v1/runs/{run}/history"))["items"]

    assert {e["actor"] for e in history if e["actor_kind"] in ("user", "service")} == {
        "service:web"
    }


async def test_a_source_publishes_for_itself_alone(meshline: Installation) -> None:
    async with meshline.as_("service:crm", "source", sources=["crm"]) as crm:
        refused = await crm.post("/v1/triggers", ADA, status=403, source=SOURCE, id="F-1")

    assert refused["code"] == "ML6002"
    assert "crm" in refused["detail"]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Host": "evil.example"}, 400, "unknown_host"),
        ({"Origin": "https://evil.example"}, 403, "unknown_origin"),
        ({"Content-Length": "200001"}, 413, "too_large"),
    ],
)
async def test_what_no_client_of_ours_sends_is_turned_away(
    meshline: Installation, headers: dict[str, str], status: int, code: str
) -> None:
    async with meshline.as_("user:ada", "admin") as ada:
        answer = await ada.http.post(
            "/v1/triggers", params={"source": SOURCE, "id": "F-1"}, content=b"{}", headers=headers
        )

    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_what_is_asked_wrongly_is_told(meshline: Installation) -> None:
    async with meshline.as_("user:ada", "admin") as ada:
        no_id = await ada.post("/v1/triggers", ADA, status=422, source=SOURCE)
        no_state = await ada.get("/v1/runs", status=422, state="sleeping")
        no_run = await ada.get("/v1/runs/ffff", status=404)
        no_path = await ada.get("/v1/leads", status=404)
        no_position = await ada.get("/v1/runs", status=422, min_position="late")

    assert no_id["errors"][0]["parameter"] == "id"
    assert no_state["errors"][0]["parameter"] == "state.0"
    assert no_run["code"] == "ML5007"
    assert no_path["code"] == "no_such_path"
    assert "PARTITION:OFFSET" in no_position["detail"]


async def test_health_is_open_and_tells_nothing(meshline: Installation) -> None:
    async with (
        httpx.AsyncClient(transport=meshline.health, base_url="http://10.0.0.7:8081") as probe,
        meshline.as_(None) as nobody,
    ):
        assert (await probe.get("/livez")).json() == {"status": "ok"}
        assert (await probe.get("/readyz")).json() == {"status": "ok"}
        assert (await probe.get("/v1/runs")).status_code == 404
        await nobody.get("/livez", status=404)


async def test_the_document_says_what_each_call_needs_and_answers(meshline: Installation) -> None:
    async with meshline.as_(None) as nobody:
        document = await nobody.get("/openapi.json")
    operations = [each for path in document["paths"].values() for each in path.values()]

    assert document["openapi"].startswith("3.1")
    assert all(
        each["security"] == [{"key": []}] for each in operations if each["tags"] != ["webhooks"]
    )
    assert all({"401", "403", "503"} <= each["responses"].keys() for each in operations)
    assert all(each["description"] for each in operations)
    names = [each["operationId"] for each in operations]
    assert len(set(names)) == len(names)
