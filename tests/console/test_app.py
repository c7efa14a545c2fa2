"""The console over a whole installation: what people can do with it, and what nobody can."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from fastapi.routing import APIRoute
from pydantic import BaseModel

from meshline.console.app import ROUTERS
from meshline.console.signing_in import PUBLIC
from meshline.projections.bulk_list import Chosen
from meshline.workflow import Retry, Workflow
from meshline.workflow.registry import Registry
from tests.api.installation import until_seen
from tests.api.leads import SOURCE, leads
from tests.console.site import PASSWORD, Site, site_at
from tests.engine.core.workflows import Done as Shipped
from tests.engine.core.workflows import Order, new_workflow

pytestmark = pytest.mark.postgres

ADA = {"email": "ada@example.org", "company": "Acme", "employees": 900}
SMALL = ADA | {"employees": 3}
FAILS = SMALL | {"company": "Nobody"}


@pytest.fixture
async def site(postgres_address: str) -> AsyncIterator[Site]:
    async with site_at(postgres_address, Registry(leads)) as site:
        yield site


async def begun(site: Site, trigger_id: str, payload: Any, state: str, source: str = SOURCE) -> str:
    """Publish, and return the run's id as soon as it is in this state."""
    answer = await site.publisher.publish(source, payload, trigger_id=trigger_id)
    async with asyncio.timeout(90):
        while True:
            found = (await site.views.runs(id_prefix=answer.run_id)).rows
            if found and found[0].state == state:
                return answer.run_id
            await asyncio.sleep(0.02)


async def becomes(site: Site, run_id: str, state: str) -> None:
    async with asyncio.timeout(90):
        while (await site.views.run(run_id)).state != state:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)


async def counted(site: Site, runs: int) -> None:
    """Return as soon as the view has so many."""
    async with asyncio.timeout(90):
        while sum((await site.views.run_counts()).values()) < runs:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def routes() -> list[tuple[str, str]]:
    found = [
        (method, route.path)
        for router in ROUTERS
        for route in router.routes
        if isinstance(route, APIRoute)
        for method in sorted(route.methods or ())
        if route.path not in PUBLIC
    ]
    assert len(found) > 14
    return found


def filled(path: str, **values: str) -> str:
    known = {
        "run": "1", "exception": "1", "approval": "big_deal", "task": "big_deal",
        "workflow": "leads",
        "action": "retry", "decision": "approved", "key": "0123456789ab", "user": "ada",
        "bulk": "bulk-1", "view": "runs", "cause": "0123456789ab",
    }  # fmt: skip
    # Else it is open for a minute.
    return "/changes?for_s=0" if path == "/changes" else path.format(**known | values)


async def test_every_page_without_a_session_leads_to_the_sign_in(site: Site) -> None:
    async with site.as_(None) as nobody:
        for method, path in routes():
            answer = await nobody.http.request(method, filled(path), data={"token": "x"})
            assert answer.status_code == 303, f"{method} {path}"
            assert answer.headers["location"].startswith("/login"), f"{method} {path}"
        refreshing = await nobody.http.get("/runs", headers={"HX-Request": "true"})

    assert (refreshing.status_code, refreshing.headers["hx-redirect"]) == (
        401,
        "/login?then=%2Fruns",
    )


async def test_every_form_needs_the_token_of_its_session(site: Site) -> None:
    run_id = await begun(site, "F-1", ADA, "waiting")
    async with site.as_("ada", "admin") as ada, site.as_("eve", "admin") as eve:
        for method, path in routes():
            if method == "POST":
                await eve.open(f"/runs/{run_id}")
                [token] = set(re.findall(r'name="token" value="(\w+)"', eve.page))
                answer = await ada.http.post(filled(path, run=run_id), data={"token": token})
                assert answer.status_code == 400, f"{path}: {answer.text}"
        no_form = await ada.http.post(f"/runs/{run_id}/cancel", json={"token": "x"})

    assert no_form.status_code == 400
    assert (await site.views.run(run_id)).state == "waiting"


async def test_a_viewer_sees_every_page_and_no_button_and_may_send_nothing(site: Site) -> None:
    run_id = await begun(site, "F-1", ADA, "waiting")
    await begun(site, "F-2", FAILS, "held")
    [held] = (await site.views.exceptions()).rows
    exception = held.exception_id
    bulk = await site.bulks.freeze(
        site.views, "skip", Chosen(workflow="leads"), actor="user:ada", reason="",
        more={"value": ADA},
    )  # fmt: skip
    async with site.as_("eve", "viewer") as eve:
        for method, path in routes():
            address = filled(
                path, run=run_id, exception=exception, bulk=bulk.name, cause=held.cause
            )
            if method == "GET":
                is_for_auditors = path.startswith(("/audit", "/access", "/views/"))
                page = await eve.open(address, 403 if is_for_auditors else 200)
                assert "ada@example.org" not in page, f"{path} shows a payload"
                assert not re.search(
                    r'method="post" action="/(runs|exceptions|exception-groups|bulk)/', page
                ), path
        token = re.findall(r'name="token" value="(\w+)"', eve.page)[0]
        for method, path in routes():
            # Anybody may come back to what they may see, and change their own password.
            if method == "POST" and not path.startswith(("/saved-lists/", "/account")):
                address = filled(path, run=run_id, exception=exception)
                answer = await eve.http.post(address, data={"token": token})
                assert answer.status_code == 403, path
                assert "may not do this" in answer.text


async def test_the_five_answers_stand_on_every_page_of_a_run(site: Site) -> None:
    run_id = await begun(site, "F-1", ADA, "waiting")
    async with site.as_("ada", "admin") as ada:
        for path in ("/runs", f"/runs/{run_id}", f"/runs/{run_id}/approvals/big_deal"):
            page = await ada.open(path)
            for answer in ("Form", SOURCE, "team:enterprise", "queue:triage", "Filed"):
                assert answer in page, f"{path} does not say {answer}"
        page = await ada.open("/workflows/leads")

    assert all(each in page for each in ("Form", SOURCE, "team:revops", "queue:triage", "Filed"))


async def test_an_approval_is_given_with_its_form_and_the_run_goes_on(site: Site) -> None:
    run_id = await begun(site, "F-1", ADA, "waiting")
    path = f"/runs/{run_id}/approvals/big_deal"
    async with site.as_("grace", "approver") as grace:
        await grace.open("/approvals")
        assert path in grace.page
        await grace.open(path)
        answer = await grace.send(f"{path}/approved", {"reason": "good customer"})
        page = await grace.open(answer.headers["location"])
        await becomes(site, run_id, "succeeded")
        again = await grace.open(f"/runs/{run_id}")

    assert "It is approved." in page
    assert "good customer" in page
    assert "user:grace" in again


async def test_an_exception_is_acknowledged_assigned_and_skipped(site: Site) -> None:
    run_id = await begun(site, "F-1", FAILS, "held")
    async with site.as_("ada", "operator") as ada:
        await ada.open("/exceptions")
        cause = re.search(r'href="(/exception-groups/\w+)"', ada.page)
        assert cause
        await ada.open(cause[1])
        found = re.search(r'href="(/exceptions/ex-[\w-]+)"', ada.page)
        assert found
        path = found[1]
        for action, form, said in [
            ("acknowledge", {"reason": "I look at it"}, "I look at it"),
            ("assign", {"owner": "user:bob"}, "user:bob"),
            ("skip", {"value": '"By hand"'}, "resolved"),
        ]:
            await ada.open(path)
            answer = await ada.send(f"{path}/{action}", form)
            assert said in await ada.open(answer.headers["location"])
        await becomes(site, run_id, "succeeded")

    outcome = (await site.views.run(run_id)).outcome
    assert outcome is not None and outcome["crm_id"].startswith("By hand-")


async def test_what_was_no_problem_is_dismissed_and_opened_again_with_a_reason(site: Site) -> None:
    await begun(site, "F-1", FAILS, "held")
    await site.publisher.publish(SOURCE, FAILS | {"employees": 4}, trigger_id="F-1")
    async with asyncio.timeout(90):
        while len((await site.views.exceptions()).rows) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    [row] = (await site.views.exceptions(kind="trigger_conflict")).rows
    path = f"/exceptions/{row.exception_id}"
    async with site.as_("ada", "operator") as ada, site.as_("bob", "operator") as bob:
        await ada.open(path)
        none = await ada.send(f"{path}/dismiss", status=400)
        answer = await ada.send(f"{path}/dismiss", {"reason": "they corrected it"})
        dismissed = await ada.open(answer.headers["location"])
        await bob.open(path)
        answer = await ada.send(f"{path}/reopen", {"reason": "they say they did not"})
        opened = await ada.open(answer.headers["location"])
        late = await bob.send(f"{path}/reopen", {"reason": "so do I"}, status=409)

    assert "There is no reason" in none.text
    assert "It is dismissed." in dismissed and "they corrected it" in dismissed
    assert f"meshline exception reopen {row.exception_id} --reason" in dismissed
    assert "It is open again" in opened and "they say they did not" in opened
    assert f'action="{path}/reopen"' not in opened
    assert "It has moved on" in late.text and "it is open now" in late.text


async def test_a_wrong_trigger_is_edited_its_difference_shown_and_the_step_tried_again(
    site: Site,
) -> None:
    odd = "Ad\u202ea </textarea>"
    run_id = await begun(site, "F-1", FAILS | {"company": "Nobody"}, "held")
    path = f"/exceptions/{(await site.views.exceptions()).rows[0].exception_id}"
    async with site.as_("ada", "operator", "auditor") as ada:
        await ada.open(path)
        assert f'href="{path}/edit"' in ada.page
        await ada.open(f"{path}/edit")
        assert "&#34;company&#34;: &#34;Nobody&#34;" in ada.page
        edited = orjson.dumps(FAILS | {"company": odd}).decode()
        form = {"value.trigger": edited, "reason": "a typing error"}
        ada.page = (await ada.send(f"{path}/edit", form, status=200)).text
        assert "trigger/company" in ada.page
        answer = await ada.send(f"{path}/retry", {"reason": "a typing error"})
        assert "It is tried again" in await ada.open(answer.headers["location"])
        await becomes(site, run_id, "succeeded")
        history = await ada.open(f"/runs/{run_id}")

    outcome = (await site.views.run(run_id)).outcome
    assert outcome is not None and odd in outcome["crm_id"]
    assert "trigger/company was changed" in history


async def test_an_edit_that_changes_nothing_or_is_no_json_is_told(site: Site) -> None:
    await begun(site, "F-1", FAILS, "held")
    path = f"/exceptions/{(await site.views.exceptions()).rows[0].exception_id}"
    async with site.as_("ada", "operator", "auditor") as ada:
        await ada.open(f"{path}/edit")
        same = {"value.trigger": orjson.dumps(FAILS).decode()}
        nothing = await ada.send(f"{path}/edit", same, status=400)
        broken = await ada.send(f"{path}/edit", {"value.trigger": "{"}, status=400)
        unknown = await ada.send(f"{path}/edit", {"value.none": "1"}, status=400)

    assert "Nothing is different" in nothing.text
    assert "no JSON" in broken.text
    assert "has no value in this run" in unknown.text


async def test_a_value_that_is_no_json_is_told_and_nothing_is_done(site: Site) -> None:
    run_id = await begun(site, "F-1", FAILS, "held")
    path = f"/exceptions/{(await site.views.exceptions()).rows[0].exception_id}"
    async with site.as_("ada", "operator") as ada:
        await ada.open(path)
        answer = await ada.send(f"{path}/skip", {"value": "{by hand"}, status=400)

    assert "no JSON" in answer.text
    assert (await site.views.run(run_id)).state == "held"


async def test_a_run_is_paused_resumed_handed_over_and_cancelled(site: Site) -> None:
    run_id = await begun(site, "F-1", ADA, "waiting")
    path = f"/runs/{run_id}"
    async with site.as_("ada", "operator") as ada:
        for action, form, said in [
            ("pause", {"reason": "month end"}, "paused"),
            ("resume", {}, "waiting"),
            ("owner", {"owner": "user:bob", "reason": "on leave"}, "user:bob"),
            ("cancel", {"reason": "withdrawn"}, "withdrawn"),
        ]:
            await ada.open(path)
            answer = await ada.send(f"{path}/{action}", form)
            assert said in await ada.open(answer.headers["location"]), action

    assert (await site.views.run(run_id)).state == "cancelled"


async def test_a_note_is_kept_of_a_run_whatever_it_does_and_after_it_has_ended(
    site: Site,
) -> None:
    run_id = await begun(site, "F-1", SMALL, "succeeded")
    async with site.as_("ada", "operator", "auditor") as ada:
        await ada.open(f"/runs/{run_id}")
        answer = await ada.send(f"/runs/{run_id}/note", {"text": "they <b>called</b>"})
        page = await ada.open(answer.headers["location"])
        await ada.send(f"/runs/{run_id}/note", {"text": " "}, status=400)

    assert "The note is kept" in page
    assert "a note: they &lt;b&gt;called&lt;/b&gt;" in page


async def test_a_run_that_waits_for_a_message_is_sent_one(postgres_address: str) -> None:
    contracts = new_workflow("contracts")
    contracts.message("signed", payload=Order)

    @contracts.step
    def close(signed: Order) -> Shipped:
        return Shipped(number=signed.number)

    async with site_at(postgres_address, Registry(contracts)) as site:
        run_id = await begun(site, "1", {"number": 1}, "waiting", "shop.contracts")
        async with site.as_("ada", "operator") as ada:
            await ada.open(f"/runs/{run_id}")
            sent = {"message": "signed", "payload": '{"number": 7}'}
            done = await ada.send(f"/runs/{run_id}/message", sent)
            assert "The message is sent" in await ada.open(done.headers["location"])
        await becomes(site, run_id, "succeeded")
        assert (await site.views.run(run_id)).outcome == {"number": 7}


async def test_who_acts_on_what_has_moved_on_is_told_and_nothing_happens(site: Site) -> None:
    run_id = await begun(site, "F-1", ADA, "waiting")
    path = f"/runs/{run_id}/approvals/big_deal"
    async with site.as_("grace", "approver") as grace, site.as_("linus", "approver") as linus:
        await grace.open(path)
        await linus.open(path)
        await linus.send(f"{path}/approved")
        await becomes(site, run_id, "succeeded")
        answer = await grace.send(f"{path}/denied", {"reason": "too much"}, status=409)

    assert "It has moved on" in answer.text
    assert "it is approved now" in answer.text
    assert (await site.views.run(run_id)).state == "succeeded"


async def test_a_run_says_why_and_leads_to_the_event_that_says_so(site: Site) -> None:
    run_id = await begun(site, "F-1", ADA, "waiting")
    await site.views.reached([], ["history"], timeout_s=5)
    async with site.as_("ada", "operator") as ada, site.as_("eve", "viewer") as eve:
        page = await ada.open(f"/runs/{run_id}")
        later = await ada.open(f"/runs/{run_id}?after=100000")
        masked = await eve.open(f"/runs/{run_id}")
        refresh = await ada.http.get(f"/runs/{run_id}", headers={"HX-Request": "true"})

    whys = re.findall(r'id="why">.*?</section>', page, re.DOTALL)[0]
    assert all(said in whys for said in ("Why it started", "Why this owner", "Why it waits"))
    assert "What it saw" in whys
    targets = set(re.findall(r'href="#(e\d+)"', whys))
    assert targets
    assert all(f'id="{target}"' in page for target in targets)
    assert re.search(rf'href="/runs/{run_id}\?after=\d+#e\d+"', later), "it is on another page"
    assert "You may not read payloads; it saw some values" in masked
    assert 'id="why"' not in refresh.text


async def test_a_run_is_shown_as_it_was(site: Site) -> None:
    run_id = await begun(site, "F-1", ADA, "waiting")
    then = datetime.now(UTC).isoformat()
    async with site.as_("ada", "admin") as ada:
        await ada.open(f"/runs/{run_id}")
        await ada.send(f"/runs/{run_id}/cancel")
        await becomes(site, run_id, "cancelled")
        before = (await ada.http.get(f"/runs/{run_id}", params={"as_of": then})).text
        listed = (await ada.http.get("/runs", params={"as_of": then})).text
        wrong = await ada.http.get("/runs", params={"as_of": "yesterday"})

    assert "is-cancelled" not in before
    assert "is-waiting" in before and "is-waiting" in listed
    assert (wrong.status_code, "is no moment" in wrong.text) == (422, True)


async def test_lists_go_on_where_the_page_before_ended(site: Site) -> None:
    for number in range(55):
        await site.publisher.publish(SOURCE, SMALL, trigger_id=f"P-{number}")
    await begun(site, "P-last", SMALL, "succeeded")
    async with site.as_("ada", "viewer") as ada:
        await counted(site, 56)
        first = await ada.open("/runs?state=succeeded")
        older = re.search(r'rel="next" href="([^"]+)"', first)
        assert older
        second = await ada.open(older[1].replace("&amp;", "&"))

    def ids(page: str) -> set[str]:
        return set(re.findall(r'class="id" href="/runs/([\w-]{36})"', page))

    assert "state=succeeded" in older[1]
    assert (len(ids(first)), len(ids(first) | ids(second))) == (50, 56)


@pytest.mark.parametrize("then", ["//evil.example/", "https://evil.example/", "/\\evil.example"])
async def test_signing_in_leads_to_no_other_server(site: Site, then: str) -> None:
    async with site.as_(None) as ada:
        await site.user("ada", "viewer")
        await ada.open(f"/login?then={then}")
        answer = await ada.send("/login", {"name": "ada", "password": PASSWORD})

    assert answer.headers["location"] == "/"


async def test_a_wrong_password_is_told_and_after_ten_nothing_is_looked_at(site: Site) -> None:
    await site.user("ada", "viewer")
    async with site.as_(None) as ada:
        codes = [
            (await ada.sign_in("ada", "wrong password", status=code)).status_code
            for code in [401] * 10 + [429]
        ]
        right = await ada.sign_in("ada", PASSWORD, status=429)

    assert codes[-1] == 429
    assert "Too many wrong passwords" in right.text


async def test_the_session_cookie_is_out_of_reach_of_scripts_and_other_sites(site: Site) -> None:
    await site.user("ada", "viewer")
    async with site.as_(None) as ada:
        answer = await ada.sign_in("ada", PASSWORD)

    cookie = next(c for c in answer.headers.get_list("set-cookie") if c.startswith("session="))
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie


async def test_no_page_has_a_script_or_style_of_its_own(site: Site) -> None:
    run_id = await begun(site, "F-1", FAILS, "held")
    exception = (await site.views.exceptions()).rows[0].exception_id
    async with site.as_("ada", "admin") as ada:
        for method, path in [*routes(), ("GET", "/login"), ("GET", "/nowhere")]:
            if method == "GET" and "approval}" not in path and "task}" not in path:
                address = filled(path, run=run_id, exception=exception)
                answer = await ada.http.get(address)
                policy = answer.headers["content-security-policy"]
                assert "default-src 'none'" in policy and "unsafe" not in policy
                assert not re.search(r"<script(?![^>]*src=)|\son\w+=|<style|\sstyle=", answer.text)


async def test_another_host_and_a_form_from_another_page_are_turned_away(site: Site) -> None:
    async with site.as_("ada", "admin") as ada:
        host = await ada.http.get("/", headers={"Host": "evil.example"})
        origin = await ada.http.post("/theme", headers={"Origin": "https://evil.example"})
        large = await ada.http.post("/theme", headers={"Content-Length": "300000"})

    assert (host.status_code, origin.status_code, large.status_code) == (400, 403, 413)


async def test_a_mistake_of_ours_is_a_page_behind_the_guard_too(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("<b>broken</b>")

    async with site.as_("ada", "admin") as ada:
        monkeypatch.setattr(site.views, "runs", broken)
        answer = await ada.http.get("/runs")

    assert (answer.status_code, "broken" in answer.text) == (500, False)
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["cache-control"] == "no-store"


WEIRD = ["%00", "a" * 5_000, "🦄", "..%2F..", "'; drop table runs --", "-1", "NaN", "%ED%A0%80"]


@pytest.mark.parametrize("weird", WEIRD)
async def test_whatever_an_address_says_is_answered_and_no_mistake_of_ours(
    site: Site, weird: str
) -> None:
    async with site.as_("ada", "admin") as ada:
        for method, path in routes():
            if method == "GET":
                names = ("run", "exception", "approval", "task", "workflow", "key", "user")
                answer = await ada.http.get(filled(path, **dict.fromkeys(names, weird)))
                assert answer.status_code < 500, f"{path}: {answer.text}"
        for name in ("after", "as_of", "at", "state", "owner", "run", "id", "version", "by"):
            for path in ("/runs", "/exceptions", "/approvals", "/triggers", "/owners"):
                answer = await ada.http.get(f"{path}?{name}={weird}")
                assert answer.status_code < 500, f"{path}?{name}: {answer.text}"


@pytest.mark.parametrize(
    ("action", "form", "status"),
    [
        ("pause", {"until": "0001-01-01T00:00"}, 422),
        ("pause", {"until": "soon"}, 422),
        ("owner", {"owner": ""}, 400),
        ("owner", {"owner": "nobody in particular"}, 409),
        ("cancel", {"reason": "a\u0000b"}, 422),
        ("cancel", {"tag": "of long ago"}, 409),
    ],
)
async def test_a_form_that_can_not_be_taken_is_told_and_nothing_happens(
    site: Site, action: str, form: dict[str, str], status: int
) -> None:
    run_id = await begun(site, "F-1", ADA, "waiting")
    async with site.as_("ada", "admin") as ada:
        await ada.open(f"/runs/{run_id}")
        answer = await ada.send(f"/runs/{run_id}/{action}", form, status=status)

    assert f'href="/runs/{run_id}"' in answer.text
    assert (await site.views.run(run_id)).state == "waiting"


async def test_a_form_that_is_sent_twice_asks_once(site: Site) -> None:
    run_id = await begun(site, "F-1", ADA, "waiting")
    async with site.as_("ada", "admin") as ada:
        await ada.open(f"/runs/{run_id}")
        form = ada.page
        for _ in range(2):
            ada.page = form
            answer = await ada.send(f"/runs/{run_id}/owner", {"owner": "user:bob"})
            await ada.open(answer.headers["location"])
    await until_seen(site.log, site.views, "ownership")
    await until_seen(site.log, site.views, "history")
    periods = [p.owner for p in await site.views.periods(run_id)]

    assert periods.count("user:bob") == 1
    history = await site.views.history(run_id)
    assert sum("owner.change" in row.type for row in history) == 1


async def test_what_was_refused_stands_in_the_history_with_who_asked(site: Site) -> None:
    run_id = await begun(site, "F-1", ADA, "waiting")
    async with site.as_("eve", "viewer") as eve:
        page = await eve.open(f"/runs/{run_id}")
        token = re.findall(r'name="token" value="(\w+)"', page)[0]
        await eve.http.post(f"/runs/{run_id}/cancel", data={"token": token})
        async with asyncio.timeout(90):
            while True:
                refused = [
                    row
                    for row in await site.views.history(run_id)
                    if row.actor == "user:eve" and "refus" in row.type
                ]
                if refused:
                    break
                await asyncio.sleep(0.05)

    assert refused[0].data["request"] == "meshline.cancel.requested"


class Sent(BaseModel):
    number: int


class Done(BaseModel):
    text: str


slow = Workflow("slow", version=1, trigger=Sent, source="slow", owner="team:slow",
                exceptions="queue:slow", outcome=Done, due="1d")  # fmt: skip


@slow.step(timeout="50ms", retry=Retry(attempts=1))
async def work(trigger: Sent) -> Done:
    await asyncio.sleep(60)
    return Done(text="too late")


async def test_an_error_that_has_no_stack_is_shown(postgres_address: str) -> None:
    async with site_at(postgres_address, Registry(slow)) as site, site.as_("ada", "admin") as ada:
        await site.publisher.publish("slow", {"number": 1}, trigger_id="1")
        async with asyncio.timeout(90):
            while not (found := (await site.views.exceptions()).rows):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert found[0].error is not None and "stack" not in found[0].error
        page = await ada.open(f"/exceptions/{found[0].exception_id}")

    assert found[0].error["type"] in page
