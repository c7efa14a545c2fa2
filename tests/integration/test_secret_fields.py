"""A secret field is shown nowhere to who may read payloads: every page, route and command.

And with the permission it is there, and kept as read.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest
import pytest_asyncio

from meshline.api.principals import ROLES, Permission
from meshline.events.corrections import Correction
from meshline.events.envelope import Actor
from meshline.events.people_requests import TaskCompletionRequested
from meshline.events.requests import ApprovalSubmitted, ExceptionActionRequested, MessageReceived
from meshline.events.secrets import MASK
from meshline.projections.bulk_list import Chosen
from meshline.projections.exception_view import ExceptionRow
from meshline.workflow.registry import Registry
from tests.api.installation import until_seen
from tests.browser.test_console_pages import pages_of
from tests.cli.test_call_server import Terminal
from tests.console.site import Browser, Site, served, site_at
from tests.integration.loans import SECRET, SOURCE, loans
from tests.services.postgres import namespace

pytestmark = [pytest.mark.postgres, pytest.mark.asyncio(loop_scope="module")]

LINES = [{"text": "one", "account": SECRET}, {"text": "two", "account": SECRET}]
VIEWS = ("runs", "history", "exceptions", "tasks", "triggers", "audit", "ownership")
BUT_SECRETS = frozenset(Permission) - {Permission.READ_SECRETS}


def loan(name: Any, **more: Any) -> dict[str, Any]:
    return {"name": name, "account": SECRET, "lines": LINES, **more}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address(postgres_dsn: str) -> str:
    return namespace(postgres_dsn)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(address: str) -> AsyncIterator[Site]:
    with pytest.MonkeyPatch.context() as patch:
        # Everything but that one permission: else the pages of admins would not be looked at.
        patch.setitem(ROLES, "auditor", BUT_SECRETS)
        async with site_at(address, Registry(loans)) as site:
            await fill(site)
            yield site


async def fill(site: Site) -> None:
    """Let one loan be paid, one be held, one wait, and five triggers be refused."""
    publish = site.publisher.publish
    for name in ("Ada", "Nobody", "Waiting"):
        answer = await publish(SOURCE, loan(name), trigger_id=name, wait_s=90)
        if name != "Waiting":
            await answered(site, answer.run_id)
    for payload, id_ in ((loan(5), "5"), ({"account": [SECRET]}, "6"), (SECRET, "7")):
        await publish(SOURCE, payload, trigger_id=id_, wait_s=90)
    await publish("nobody.knows", loan("Eve"), trigger_id="8", wait_s=90)
    broken = f'{{"account": "{SECRET}'.encode()
    await publish(SOURCE, broken, trigger_id="9", wait_s=90)
    first = await held_other_than(site, "")
    corrected = Correction(of="score", path="/account", value=f"{SECRET}-1")
    retried = ExceptionActionRequested(
        exception_id=first.exception_id, action="retry", corrections=(corrected,)
    )
    await taken(site, first.run_id, retried)
    await held_other_than(site, first.exception_id)
    async with asyncio.timeout(90):
        while not (await site.views.runs(states=["succeeded"])).rows:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await until_seen(site.log, site.views, *VIEWS)


async def held_other_than(site: Site, exception_id: str) -> ExceptionRow:
    async with asyncio.timeout(90):
        while True:
            rows = (await site.views.exceptions()).rows
            if rows and rows[0].exception_id != exception_id:
                return rows[0]
            await asyncio.sleep(0.05)


async def answered(site: Site, run_id: str) -> None:
    """Answer all that a run asks for, with the secret in each answer."""
    form, by = {"account": SECRET}, {"account": SECRET, "by": "Ada"}
    mistyped = MessageReceived(name="singed", payload=by)
    assert (await ask(site, run_id, mistyped)).status == "rejected"
    credit = ApprovalSubmitted(approval="credit", decision="approved", form=form | {"amount": 5})
    await taken(site, run_id, credit)
    await taken(site, run_id, TaskCompletionRequested(task="call", form=form | {"note": "rang"}))
    await taken(site, run_id, MessageReceived(name="signed", payload=by))


async def ask(site: Site, run_id: str, asked: Any) -> Any:
    root = Actor("user", "user:root")
    return await site.publisher.request(run_id, asked, actor=root, wait_s=90)


async def taken(site: Site, run_id: str, asked: Any) -> None:
    """Ask until the run has come to where it takes it."""
    async with asyncio.timeout(90):
        while (await ask(site, run_id, asked)).status != "accepted":  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def ids(site: Site) -> dict[str, list[str]]:
    """Return what stands for each parameter of a route."""
    runs = (await site.views.runs()).rows
    exceptions = (await site.views.exceptions(states=None)).rows
    made = await site.bulks.freeze(
        site.views, "retry", Chosen(workflow="loan"), actor="user:grace", reason="back",
        more={"corrections": [{"of": "trigger", "path": "/account", "value": f"{SECRET}-1"}]},
    )  # fmt: skip
    await site.bulks.freeze(
        site.views, "skip", Chosen(cause=exceptions[0].cause), actor="user:grace", reason="back",
        more={"value": {"name": "x", "account": SECRET}},
    )  # fmt: skip
    refused = [row.run_id for row in (await site.views.triggers(statuses=["rejected"])).rows]
    return {
        "run": [row.run_id for row in runs],
        "refused": refused,
        "exception": [row.exception_id for row in exceptions],
        "cause": [row.cause for row in exceptions[:1]],
        "step": ["score", "book[0]", "book[1]", "book", "praise", "ship"],
        "approval": ["credit"],
        "task": ["call", "credit"],
        "bulk": [made.name],
        "view": ["runs", "history"],
        "workflow": ["loan"],
        "owner": ["team:loans"],
    }


# -- the console -------------------------------------------------------------------------------


async def addresses(site: Site, known: dict[str, list[str]]) -> list[str]:
    """Return every page, and every one of a run with all that it can be asked for."""
    found = [*(await pages_of(SimpleNamespace(site=site))).values()]  # type: ignore[arg-type]
    for run in known["run"]:
        found += [f"/runs/{run}?payload=run&saw=1"]
        found += [f"/runs/{run}?payload=step:{quote(step)}" for step in known["step"]]
        found += [f"/runs/{run}?show={row.log_offset}" for row in await site.views.history(run)]
        found += [f"/runs/{run}/tasks/{task}" for task in known["task"]]
    found += [f"/exceptions/{each}" for each in known["exception"]]
    found += [f"/exceptions/{each}/edit" for each in known["exception"]]
    for row in (await site.views.triggers(statuses=["rejected"])).rows:
        found += [f"/triggers/send?source={row.source}&id={row.trigger_id}"]
    found += ["/exceptions?state=resolved", "/triggers?status=rejected", "/runs?state=succeeded"]
    return [*dict.fromkeys(found)]


async def crawled(browser: Browser, paths: list[str]) -> dict[str, str]:
    """Return the pages, and what they lead to, as text by address."""
    pages: dict[str, str] = {}
    for path in paths:
        answer = await browser.http.get(path, follow_redirects=True)
        assert answer.status_code in (200, 404, 409), (path, answer.status_code, answer.text)
        pages[path] = unquote(answer.text)
    return pages


async def test_no_page_shows_it_to_who_may_read_payloads_and_no_secrets(site: Site) -> None:
    async with site.as_("ada", "auditor") as ada:
        pages = await crawled(ada, await addresses(site, await ids(site)))

    assert [path for path, page in pages.items() if SECRET in page] == []
    assert [path for path, page in pages.items() if "KeyError" in page] == []
    # The pages were looked at with what they show: a mask stands where the secret would.
    masked = "".join(path for path, page in pages.items() if MASK in page)
    for part in ("payload=run", "payload=step:ship", "payload=step:book", "/edit", "?show=",
                 "/tasks/credit", "/tasks/call", "/exception-groups/", "/bulk/bulk-",
                 "/triggers/send", "saw=1"):  # fmt: skip
        assert part in masked, part


# -- the API -----------------------------------------------------------------------------------

STREAMS = {"/v1/changes"}
"""They say that something changed, and nothing of what."""

OF_ONE_OR_THE_OTHER = {"run": ("run", "refused")}


async def answers(http: httpx.AsyncClient, known: dict[str, list[str]]) -> dict[str, str]:
    """Return what every GET route answers, for all that there is, as text by address."""
    document = (await http.get("/openapi.json")).json()
    routes = [path for path, calls in document["paths"].items() if "get" in calls]
    assert len(routes) > 30
    found: dict[str, str] = {}
    for route in set(routes) - STREAMS:
        paths = [route]
        for name in re.findall(r"{(\w+)}", route):
            values = [v for key in OF_ONE_OR_THE_OTHER.get(name, (name,)) for v in known[key]]
            paths = [p.replace(f"{{{name}}}", quote(v, safe="")) for p in paths for v in values]
        for path in paths:
            answer = await http.get(path, params=QUERIES.get(route))
            assert answer.status_code in (200, 404, 409, 422), (path, answer.text)
            found[path] = answer.text
    return found


QUERIES = {"/v1/audit/export": {"format": "jsonl"}, "/v1/exceptions": {"state": "open"}}


async def test_no_route_answers_it_to_who_may_read_payloads_and_no_secrets(site: Site) -> None:
    _, key = await site.keys.create("user:ada", ["auditor"], made_by="user:test")
    known = await ids(site)

    async with client(site, key) as http:
        found = await answers(http, known)

    assert [path for path, answer in found.items() if SECRET in answer] == []
    masked = {path.split("/")[-1] for path, answer in found.items() if MASK in answer}
    assert {"history", "payloads", "reasons", "triggers", "runs", "items", "bulk-lists"} <= masked


async def test_with_the_permission_it_is_there_and_kept_as_read(site: Site) -> None:
    _, key = await site.keys.create("user:root", ["admin"], made_by="user:test")
    run = (await site.views.runs(states=["succeeded"])).rows[0].run_id

    async with client(site, key) as http:
        history = (await http.get(f"/v1/runs/{run}/history")).text
        payloads = (await http.get(f"/v1/runs/{run}/steps/score/payloads")).text
        readings = (await http.get("/v1/audit/readings")).json()["items"]

    assert SECRET in history
    assert SECRET in payloads
    assert [each["what"] for each in readings[:2]] == [
        "taken, gave, changes with secrets", "data with secrets",
    ]  # fmt: skip


async def test_who_reads_payloads_without_secrets_is_not_kept_as_reading_them(site: Site) -> None:
    _, key = await site.keys.create("user:ada", ["auditor"], made_by="user:test")
    run = (await site.views.runs(states=["succeeded"])).rows[0].run_id

    async with client(site, key) as http:
        await http.get(f"/v1/runs/{run}/history")
        readings = (await http.get("/v1/audit/readings")).json()["items"]

    assert readings[0]["what"] == "data"


async def test_a_difference_of_secrets_says_that_they_changed_and_no_more(site: Site) -> None:
    (held,) = (await site.views.exceptions()).rows
    _, key = await site.keys.create("user:ada", ["auditor"], made_by="user:test")

    async with client(site, key) as http:
        answer = await http.get(f"/v1/runs/{held.run_id}/steps/ship/payloads")
    tries = answer.json()["items"]

    assert tries[1]["corrected"] == [
        {"path": "/score/account", "what": "changed", "before": MASK, "after": MASK}
    ]


async def test_a_mask_is_never_written_in_place_of_a_secret(site: Site) -> None:
    (held,) = (await site.views.exceptions()).rows
    _, key = await site.keys.create("user:ada", ["auditor"], made_by="user:test")
    skipped = {"action": "skip", "value": {"name": "x", "account": MASK}}

    async with client(site, key) as http:
        answer = await http.post(f"/v1/exceptions/{held.exception_id}/actions", json=skipped)

    assert answer.status_code == 409
    assert "stands for a secret" in answer.text


def client(site: Site, key: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(site.app, raise_app_exceptions=False),
        base_url="http://localhost", timeout=90, headers={"Authorization": f"Bearer {key}"},
    )  # fmt: skip


# -- the command line --------------------------------------------------------------------------


async def test_no_command_shows_it_over_a_server_or_where_the_log_is(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    address: str,
) -> None:  # fmt: skip
    known = await ids(site)
    (held,) = (await site.views.exceptions()).rows
    _, key = await site.keys.create("user:ada", ["auditor"], made_by="user:test")
    commands = [
        ["run", "list"],
        *([verb, run] for run in (held.run_id,) for verb in ("explain",)),
        *(["run", verb, held.run_id] for verb in ("show", "history", "payloads")),
        ["run", "history", held.run_id, "--full"],
        ["run", "payloads", held.run_id, "ship"],
        ["explain", known["refused"][0]],
        ["trigger", "list"],
        *(["trigger", "show", id_, "--source", SOURCE] for id_ in ("Ada", "5", "6", "7", "9")),
        ["trigger", "show", "8"],
        ["exception", "show", held.exception_id],
        ["exception", "list"],
        ["exception", "retry", held.exception_id, "--dry-run", "--set", 'trigger/name="Bo"'],
        ["task", "show", held.run_id, "call"],
        ["task", "list", "--state", "completed"],
        ["approval", "list", "--state", "approved"],
        ["bulk", "show", known["bulk"][0]],
        ["bulk", "list"],
        ["audit", "list"],
    ]
    alone = [
        ["view", "rows", "history"], ["view", "rows", "triggers"], ["view", "rows", "tasks"],
        ["view", "rows", "runs"], ["log", "tail", "-n", "1000"],
        ["run", "list", "--as-of", "2999-01-01"],
        ["run", "show", held.run_id, "--as-of", "2999-01-01"],
        ["view", "rows", "runs", "--as-of", "2999-01-01"], ["verify"],
    ]  # fmt: skip
    shown: dict[str, str] = {}
    async with served(site) as server:
        terminal = Terminal(capsys, monkeypatch, server, key, address)
        for typed in commands:
            _, said, words = await terminal.over_the_server(*typed, "--output", "json")
            shown[f"server {' '.join(typed)}"] = said + words
        for typed in [*commands, *alone]:
            for form in ("text", "json"):
                _, said, words = await terminal.where_it_is(*typed, "--output", form)
                shown[f"here {form} {' '.join(typed)}"] = said + words

    assert [typed for typed, said in shown.items() if SECRET in said] == []
    words = " ".join(typed for typed, said in shown.items() if MASK in said)
    for start in ("here text run payloads", "here json run history", "server explain",
                  "here json explain", "here json task show", "here json bulk show",
                  "here text trigger show 5", "here json view rows history", "here text log tail",
                  "here json run list --as-of", "server trigger list"):  # fmt: skip
        assert start in words, start


# -- what changes something: last, since the site is one for all -------------------------------


async def test_an_edit_form_keeps_a_secret_that_is_left_as_the_mask(site: Site) -> None:
    (held,) = (await site.views.exceptions()).rows
    path = f"/exceptions/{held.exception_id}"

    async with site.as_("ada", "auditor") as ada:
        await ada.open(f"{path}/edit")
        typed = {"value.trigger": f'{{"name": "Bo", "account": "{MASK}", "lines": []}}'}
        answer = await ada.send(f"{path}/edit", typed, status=200)
        assert SECRET not in answer.text
        ada.page = answer.text
        await ada.send(f"{path}/retry", {})

    await until_run(site, held.run_id, "succeeded")
    run = await site.views.run(held.run_id)
    assert run.outcome == {"name": "Bo", "account": f"{SECRET}-1"}


async def test_a_refused_trigger_is_sent_again_with_the_secret_that_it_had(site: Site) -> None:
    async with site.as_("ada", "auditor") as ada:
        await ada.open(f"/triggers/send?source={SOURCE}&id=5")
        typed = f'{{"name": "Bo", "account": "{MASK}", "lines": []}}'
        answer = await ada.send(
            "/triggers/send", {"source": SOURCE, "id": "5", "type": "Loan", "payload": typed}
        )

    run_id = re.search(r"/runs/([0-9a-f-]{36})", answer.headers["location"])[1]  # type: ignore[index]
    await until_seen(site.log, site.views, "history")
    received = [row.data for row in await site.views.history(run_id) if "payload" in row.data]
    assert received[-1]["payload"]["account"] == SECRET


async def until_run(site: Site, run_id: str, state: str) -> None:
    async with asyncio.timeout(90):
        while (await site.views.run(run_id)).state != state:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
