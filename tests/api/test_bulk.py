"""Many at once over HTTP: looked at, agreed to by a second person, applied item by item."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from meshline.api import bulk_work
from meshline.cli.exits import Exit
from meshline.cli.main import run as type_in
from meshline.cli.serve import listening
from meshline.workflow.registry import Registry
from tests.api.installation import Client, Installation, installed, reaches
from tests.api.leads import SOURCE, leads
from tests.api.refunds import REFUNDS, refunds

pytestmark = pytest.mark.postgres

NOBODY = {"email": "ada@example.org", "company": "Nobody", "employees": 3}
HELD = 5
PATH = "/v1/bulk-lists"


@pytest.fixture
async def meshline(postgres_address: str) -> AsyncIterator[Installation]:
    async with (
        installed(postgres_address, Registry(leads, refunds)) as installation,
        installation.as_("user:ada", "admin") as ada,
    ):
        for number in range(HELD):
            answer = await ada.post("/v1/triggers", NOBODY, source=SOURCE, id=f"F-{number}")
            await reaches(ada, answer["run_id"], "held")
        yield installation


async def seen(client: Client, count: int = HELD, **chosen: Any) -> list[Any]:
    async with asyncio.timeout(90):
        while True:
            found: list[Any] = (await client.get("/v1/exceptions", **chosen))["items"]
            if len(found) == count:
                return found
            await asyncio.sleep(0.02)


async def ended(client: Client, name: str) -> Any:
    """Return the list as soon as nobody applies it any more."""
    async with asyncio.timeout(90):
        while True:
            shown = await client.get(f"{PATH}/{name}")
            if not shown["is_being_applied"]:
                return shown
            await asyncio.sleep(0.02)


def skip(**more: Any) -> dict[str, Any]:
    return {
        "action": "skip", "chosen": {"workflow": "leads"}, "value": "By hand", "reason": "known",
        **more,
    }  # fmt: skip


async def test_a_list_is_looked_at_then_applied_and_each_item_is_told(
    meshline: Installation,
) -> None:
    async with meshline.as_("user:ada", "operator") as ada:
        rows = await seen(ada, workflow="leads")
        made = await ada.post(PATH, skip(), status=201)
        changed = await ada.post(
            f"/v1/exceptions/{rows[0]['exception_id']}/actions",
            {"action": "assign", "owner": "user:bob"},
        )
        await ada.get("/v1/exceptions", min_position=changed["position"])

        begun = await ada.post(f"{PATH}/{made['name']}/apply")
        done = await ended(ada, made["name"])
        items = (await ada.get(f"{PATH}/{made['name']}/items"))["items"]
        skipped = (await ada.get(f"{PATH}/{made['name']}/items", result="skipped"))["items"]
        pages = []
        after: dict[str, Any] = {}
        while True:
            page = await ada.get(f"{PATH}/{made['name']}/items", limit=2, **after)
            pages.append([item["number"] for item in page["items"]])
            if page["next"] is None:
                break
            after = {"after": page["next"]}
        for row in rows[1:]:
            await reaches(ada, row["run_id"], "succeeded")
        await meshline.until_seen("history")
        history = (await ada.get(f"/v1/runs/{rows[1]['run_id']}/history"))["items"]

    assert (made["items"], made["runs"], made["by_step"]) == (HELD, HELD, {"leads: enrich": HELD})
    assert made["counts"] == {"left": HELD}
    assert set(made["seen_at"]) == {"0", "1"}
    assert begun["counts"].get("left", 0) + sum(begun["counts"].values()) >= HELD
    assert done["counts"] == {"done": HELD - 1, "skipped": 1}
    assert done["problem"] is None
    assert Counter(item["result"] for item in items) == {"done": HELD - 1, "skipped": 1}
    assert [item["exception_id"] for item in skipped] == [rows[0]["exception_id"]]
    assert "is open with user:bob" in skipped[0]["detail"]
    assert pages == [[1, 2], [3, 4], [5]]
    [asked] = [h for h in history if h["type"] == "meshline.exception.action.requested.v1"]
    assert (asked["actor"], asked["data"]["reason"]) == ("user:ada", f"known ({made['name']})")


async def test_a_long_list_is_applied_when_somebody_else_has_agreed(
    meshline: Installation,
) -> None:
    async with (
        meshline.as_("user:ada", "operator") as ada,
        meshline.as_("user:bob", "operator") as bob,
    ):
        await seen(ada)
        made = await ada.post(PATH, skip(second_person_above=2), status=201)
        name = made["name"]

        early = await ada.post(f"{PATH}/{name}/apply", status=409)
        own = await ada.post(f"{PATH}/{name}/confirm", status=409)
        agreed = await bob.post(f"{PATH}/{name}/confirm", status=200)
        await ada.post(f"{PATH}/{name}/apply")
        done = await ended(ada, name)

    assert made["needs_second_person"]
    assert "need the word of a second person" in early["detail"]
    assert "user:ada made the list" in own["detail"]
    assert (agreed["needs_second_person"], agreed["confirmed_by"]) == (False, "user:bob")
    assert done["counts"] == {"done": HELD}


def edit(path: str, value: Any, **more: Any) -> dict[str, Any]:
    corrections = [{"of": "trigger", "path": path, "value": value}]
    return {
        "action": "retry", "chosen": {"workflow": "leads"}, "corrections": corrections,
        "reason": "mistyped", **more,
    }  # fmt: skip


async def test_what_is_wrong_in_many_is_set_right_in_each_and_tried_again(
    meshline: Installation,
) -> None:
    async with (
        meshline.as_("user:ada", "operator") as ada,
        meshline.as_("user:bob", "operator") as bob,
        meshline.as_("user:vic", "viewer") as vic,
    ):
        [late, *rows] = await seen(ada, workflow="leads")
        made = await ada.post(PATH, edit("/company", "Acme"), status=201)
        hidden = await vic.get(f"{PATH}/{made['name']}")
        path = f"/v1/exceptions/{late['exception_id']}/actions"
        own = edit("/company", "Bolt")["corrections"]
        await bob.post(path, {"action": "retry", "corrections": own})
        again = await ada.post(PATH, edit("/company", "Nobody"), status=404)
        await bob.post(f"{PATH}/{made['name']}/confirm", status=200)
        await ada.post(f"{PATH}/{made['name']}/apply")
        done = await ended(ada, made["name"])
        items = (await ada.get(f"{PATH}/{made['name']}/items"))["items"]
        for row in rows:
            run = await reaches(ada, row["run_id"], "succeeded")
            assert run["outcome"]["crm_id"].startswith("Acme Ltd")
        await meshline.until_seen("history")
        history = (await ada.get(f"/v1/runs/{rows[0]['run_id']}/history"))["items"]

    changes = [{"path": "/company", "what": "changed", "before": "Nobody", "after": "Acme"}]
    assert made["items"] == HELD
    assert [item["corrected"] for item in made["samples"]] == [
        [{"of": "trigger", "changes": changes}]
    ] * 5
    assert (hidden["more"], {item["corrected"] for item in hidden["samples"]}) == ({}, {None})
    assert "its values are so already" in again["detail"]
    assert done["counts"] == {"done": HELD - 1, "skipped": 1}
    assert [item["run_id"] for item in items if item["result"] == "skipped"] == [late["run_id"]]
    said = {each["type"]: each for each in history}
    asked = said["meshline.exception.action.requested.v1"]
    assert (asked["actor"], asked["data"]["corrections"][0]["value"]) == ("user:ada", "Acme")
    assert asked["data"]["reason"] == f"mistyped ({made['name']}, agreed to by user:bob)"
    resolved = said["meshline.exception.resolved.v1"]
    assert resolved["data"]["corrected"] == [{"of": "trigger", "changes": changes}]


async def test_what_can_not_be_corrected_so_is_left_out_and_said(
    meshline: Installation,
) -> None:
    async with meshline.as_("user:ada", "admin") as ada:
        right = await ada.post(
            "/v1/triggers", NOBODY | {"employees": 4}, source=SOURCE, id="F-right"
        )
        await seen(ada, HELD + 1)
        wrong = await ada.post(PATH, edit("/employees", "some"), status=404)
        nowhere = await ada.post(PATH, edit("/lines/0", 1), status=404)
        made = await ada.post(PATH, edit("/employees", 4), status=201)
        out = await ada.get(f"{PATH}/{made['name']}/items", result="left_out")
        all_of_it = await ada.get(f"{PATH}/{made['name']}/items")

    assert 'it would be no trigger: employees: it is not of type "integer"' in wrong["detail"]
    assert "it can't be corrected so: /lines/0 is no place in it" in nowhere["detail"]
    why = "the corrections change nothing: its values are so already"
    assert (made["items"], made["left_out"]) == (HELD, {why: 1})
    assert [(i["run_id"], i["detail"]) for i in out["items"]] == [(right["run_id"], why)]
    assert len(all_of_it["items"]) == HELD


async def test_a_list_is_seen_by_its_team_and_its_value_by_who_reads_payloads(
    meshline: Installation,
) -> None:
    async with (
        meshline.as_("user:ada", "admin") as ada,
        meshline.as_("user:sue", "operator", workflows=["leads"]) as sue,
        meshline.as_("user:eve", "operator", workflows=["refunds"]) as eve,
        meshline.as_("user:vic", "viewer") as vic,
    ):
        rows = await seen(ada)
        lost = await ada.post("/v1/triggers", {"order": "lost"}, source=REFUNDS, id="lost")
        await reaches(ada, lost["run_id"], "held")
        mine = await sue.post(PATH, skip(chosen={"kind": "step_failed"}), status=201)
        all_of_it = await ada.post(
            PATH, {"action": "acknowledge", "chosen": {"state": "open"}}, status=201
        )

        for path in ("", "/items"):
            await eve.get(f"{PATH}/{mine['name']}{path}", status=404)
            await sue.get(f"{PATH}/{all_of_it['name']}{path}", status=404)
        await eve.post(f"{PATH}/{mine['name']}/apply", status=404)
        await eve.post(f"{PATH}/{mine['name']}/confirm", status=404)
        none = await eve.post(PATH, skip(), status=404)
        listed = [(await who.get(PATH))["items"] for who in (ada, sue, eve)]
        hidden = await vic.get(f"{PATH}/{mine['name']}")

    assert mine["items"] == len(rows)
    assert none["code"] == "ML5007"
    names = [[each["name"] for each in found] for found in listed]
    assert names == [[all_of_it["name"], mine["name"]], [mine["name"]], []]
    assert mine["more"] == {"value": "By hand"}
    assert hidden["more"] == {}


async def test_asking_twice_with_one_key_makes_one_list(meshline: Installation) -> None:
    async with meshline.as_("user:ada", "operator") as ada:
        await seen(ada)
        key = {"Idempotency-Key": "k-1"}
        first = await ada.http.post(PATH, json=skip(), headers=key)
        again = await ada.http.post(PATH, json=skip(), headers=key)
        other = await ada.http.post(PATH, json=skip(value="Else"), headers=key)
        lists = (await ada.get(PATH))["items"]

    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 422)
    assert first.json()["name"] == again.json()["name"]
    assert other.json()["code"] == "ML6007"
    assert len(lists) == 1


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ({"action": "retry", "chosen": {}}, 409, "Nothing says which"),
        ({"action": "retry", "chosen": {"colour": "red"}}, 422, "colour"),
        ({"action": "burn", "chosen": {"kind": "x"}}, 422, "action"),
        ({"action": "cancel", "chosen": {"cause": "x"}}, 409, "not chosen by cause"),
        ({"action": "assign", "chosen": {"kind": "x"}, "owner": "x"}, 409, "new owner is 'x'"),
        ({"action": "retry", "chosen": {"cause": "x"}}, 404, "No open exception fits"),
        ({"action": "dismiss", "chosen": {"kind": "x"}}, 409, "There is no reason"),
        (skip(corrections=[{"of": "trigger", "value": 1}]), 409, "expected them with retry only"),
        ({"action": "retry", "chosen": {"kind": "x"}, "second_person_above": 2000}, 422, "1000"),
    ],
)
async def test_what_makes_no_list_is_told(
    meshline: Installation, body: Any, status: int, told: str
) -> None:
    async with meshline.as_("user:ada", "operator") as ada:
        assert told in (await ada.post(PATH, body, status=status))["detail"]


async def test_a_server_that_ends_leaves_a_list_to_be_gone_on_with(
    meshline: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with meshline.as_("user:ada", "operator") as ada:
        await seen(ada)
        made = await ada.post(PATH, skip(), status=201)
        held = asyncio.Event()

        async def never(*_: Any, **__: Any) -> AsyncIterator[Any]:
            async with meshline.services.bulks.alone(made["name"]):  # type: ignore[union-attr]
                await held.wait()
                yield

        with monkeypatch.context() as patched:
            patched.setattr(bulk_work, "applied", never)
            await ada.post(f"{PATH}/{made['name']}/apply")
            second = await ada.post(f"{PATH}/{made['name']}/apply", status=409)
            assert meshline.services.bulk_work is not None
            await meshline.services.bulk_work.aclose()
        left = await ended(ada, made["name"])
        await ada.post(f"{PATH}/{made['name']}/apply")
        done = await ended(ada, made["name"])

    assert "being applied already" in second["detail"]
    assert left["counts"] == {"left": HELD}
    assert done["counts"] == {"done": HELD}


async def test_the_command_line_does_the_same_over_a_server(
    meshline: Installation, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        listening(meshline.api, "127.0.0.1", 0) as address,
        meshline.as_("user:ada", "admin") as ada,
        meshline.as_("user:bob", "operator") as bob,
    ):
        await seen(ada)

        async def typed(who: Client, *words: str, code: int = Exit.OK) -> str:
            key = who.http.headers["Authorization"].removeprefix("Bearer ")
            monkeypatch.setenv("MESHLINE_SERVER", address)
            monkeypatch.setenv("MESHLINE_KEY", key)
            found = await asyncio.to_thread(type_in, ["bulk", *words])
            said = capsys.readouterr()
            assert found == code, said
            return said.out + said.err

        preview = await typed(
            ada, "preview", "skip", "--workflow", "leads", "--value", '"x"', "--reason", "known",
            "--second-person-above", "2",
        )  # fmt: skip
        name = preview.split()[1].rstrip(":")
        await typed(ada, "apply", name, code=Exit.REFUSED)
        await typed(bob, "confirm", name)
        applied = await typed(ada, "apply", name)
        again = await typed(ada, "apply", name)
        shown = await typed(ada, "show", name)
        listed = await typed(ada, "list")
        await typed(ada, "show", "bulk-none", code=Exit.NOT_FOUND)
        lost = await ada.post("/v1/triggers", NOBODY | {"employees": 4}, source=SOURCE, id="F-9")
        also = await ada.post("/v1/triggers", NOBODY, source=SOURCE, id="F-10")
        await seen(ada, 2)
        edited = await typed(
            ada, "preview", "retry", "--workflow", "leads", "--set", "trigger/company=\"Acme\"",
            "--set", "trigger/employees=3",
        )  # fmt: skip
        await typed(ada, "preview", "retry", "--kind", "step_failed", "--set",
                    "trigger/company=Acme", code=Exit.USAGE)  # fmt: skip
        left = await typed(ada, "preview", "retry", "--workflow", "leads", "--set",
                           "trigger/employees=4")  # fmt: skip
        await typed(ada, "apply", edited.split()[1].rstrip(":"))
        for run in (lost, also):
            await reaches(ada, run["run_id"], "succeeded")

    assert f"skip value x, {HELD} exceptions of {HELD} runs" in preview
    assert applied.count("done        ") == HELD
    assert f"{name}: {HELD} done." in applied
    assert again.strip() == f"{name}: {HELD} done."
    assert f"{HELD} done" in shown
    assert name in listed
    assert "user:bob" in listed
    assert 'retry with trigger/company="Acme", trigger/employees=3, 2 exceptions' in edited
    assert edited.count('      trigger/company: "Nobody" → "Acme"') == 2
    assert edited.count("      trigger/employees: 4 → 3") == 1
    assert "1 exception of 1 run\n" in left
    assert "1  left out: the corrections change nothing: its values are so already" in left
