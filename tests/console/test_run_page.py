"""The page of one run: events and their causes, payloads when they are asked for, and the past."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from meshline.events.envelope import Actor
from meshline.events.publish import RequestAnswer
from meshline.events.requests import NoteRequested
from meshline.workflow.registry import Registry
from tests.api.leads import leads
from tests.console.site import Browser, Site, site_at
from tests.console.test_app import ADA, becomes, begun

pytestmark = pytest.mark.postgres

NOBODY = ADA | {"company": "Nobody", "employees": 3}


@pytest.fixture
async def site(postgres_address: str) -> AsyncIterator[Site]:
    async with site_at(postgres_address, Registry(leads)) as site:
        yield site


def events(page: str) -> list[str]:
    """Return the types of the events that the page shows."""
    listed = re.findall(r'<ol class="events">.*?</ol>', page, re.DOTALL)[0]
    return re.findall(r"<summary>([\w.]+)\.v1</summary>", listed)


async def noted(site: Site, run_id: str, text: str) -> RequestAnswer:
    answer = await site.publisher.request(
        run_id, NoteRequested(text=text), actor=Actor("user", "user:ada"), wait_s=30
    )
    at = answer.decided_at or answer.position
    await site.views.reached([at], ["history"], timeout_s=10)
    return answer


async def test_events_are_narrowed_to_what_failed_to_a_type_and_to_an_actor(site: Site) -> None:
    run_id = await begun(site, "F-1", NOBODY, "held")
    async with site.as_("ada", "operator") as ada:
        path = f"/runs/{run_id}"
        await ada.open(path)
        done = (await ada.send(f"{path}/note", {"text": "who is that?"})).headers["location"]
        noted = events(await ada.open(f"{done}&type=run.noted"))
        failed = events(await ada.open(f"{path}?failed=1"))
        of_ada = events(await ada.open(f"{path}?actor=user:ada"))
        none = await ada.open(f"{path}?failed=1&type=step.started")
        unknown = events(await ada.open(f"{path}?type=no.such"))

    assert failed == ["step.failed", "exception.opened"]
    assert noted == ["run.noted"]
    assert set(of_ada) == {"note.requested", "run.noted"}
    assert events(none) == [] and "There are no such events." in none
    assert "step.started" in unknown


async def test_each_event_says_who_and_leads_to_what_it_follows_from(site: Site) -> None:
    run_id = await begun(site, "F-1", ADA, "waiting")
    request = await noted(site, run_id, "hello")
    async with site.as_("ada", "viewer") as ada:
        whole = await ada.open(f"/runs/{run_id}")
        only = await ada.open(f"/runs/{run_id}?type=run.noted")

    cause = f"#e{request.position.offset}"
    of_note = re.findall(r'<p class="wait">by [^\n]*note requested</a>', whole)
    assert len(of_note) == 1 and f'href="{cause}"' in of_note[0]
    assert f'id="{cause[1:]}"' in whole
    # On a page without it, it is reached on one that has it, without the filter.
    assert re.search(rf'href="/runs/{run_id}\?after={request.position.offset - 1}{cause}"', only)


async def read(site: Site, actor: str) -> list[tuple[str, list[str]]]:
    rows = (await site.views.readings(actor=actor)).rows
    return [(f"{row.what} of {row.about}", row.positions) for row in rows[::-1]]


async def test_a_payload_is_shown_when_it_is_asked_for_and_then_who_did_is_kept(site: Site) -> None:
    run_id = await begun(site, "F-1", ADA, "waiting")
    async with site.as_("aud", "auditor") as aud, site.as_("eve", "viewer") as eve:
        path = f"/runs/{run_id}"
        page = await aud.open(path)
        refresh = await aud.http.get(f"{path}?payload=run", headers={"HX-Request": "true"})
        before = await read(site, "user:aud")
        offset = re.findall(r"show=(\d+)", page)[0]
        shown = await aud.open(f"{path}?show={offset}")
        whole = await aud.open(f"{path}?payload=run")
        step = await aud.open(f"{path}?payload=step:enrich")
        saw = await aud.open(f"{path}?saw=1")
        masked = [
            await eve.open(f"{path}{query}")
            for query in ("", f"?show={offset}", "?payload=run", "?payload=step:enrich", "?saw=1")
        ]
        none = await aud.open(f"{path}?payload=step:nothing", status=404)

    assert "ada@example.org" not in page + refresh.text and before == []
    assert "ada@example.org" in shown and "ada@example.org" in whole
    assert "Acme Ltd" in step and "Acme Ltd" not in whole
    assert "it saw <code>" in saw and "it saw <code>" not in page
    assert not any("ada@example.org" in each or "Acme Ltd" in each for each in masked)
    assert "has begun no step" in none
    kept = await read(site, "user:aud")
    assert [what for what, _ in kept] == [
        f"data of run {run_id}", f"taken of run {run_id}", f"taken, gave of enrich of run {run_id}",
        f"saw of run {run_id}",
    ]  # fmt: skip
    assert [where.partition(":")[2] for where in kept[0][1]] == [offset]
    assert await read(site, "user:eve") == []


async def test_a_correction_is_shown_as_the_difference_between_two_tries(site: Site) -> None:
    run_id = await begun(site, "F-1", NOBODY, "held")
    async with site.as_("ada", "operator") as ada:
        page = await ada.open(f"/runs/{run_id}")
        [edit] = re.findall(r'href="(/exceptions/[^"]+/edit)"', page)
        await ada.open(edit)
        trigger = '{"email": "ada@example.org", "company": "Acme", "employees": 3}'
        preview = await ada.send(edit, {"value.trigger": trigger}, status=200)
        ada.page = preview.text
        await ada.send(f"{edit.removesuffix('/edit')}/retry")
        await becomes(site, run_id, "succeeded")
        tries = await ada.open(f"/runs/{run_id}?payload=step:enrich")
        whole = await ada.open(f"/runs/{run_id}?payload=run")

    assert "Corrected since the try before" in tries and "/trigger/company" in tries
    assert "Different between in and out" in whole and "/crm_id" in whole


async def test_a_held_step_is_skipped_from_the_page_of_its_run(site: Site) -> None:
    run_id = await begun(site, "F-1", NOBODY, "held")
    async with site.as_("ada", "operator") as ada, site.as_("bob", "operator") as bob:
        page = await ada.open(f"/runs/{run_id}")
        await bob.open(f"/runs/{run_id}")
        [skip] = re.findall(r'action="(/exceptions/[^"]+/skip)"', page)
        done = await ada.send(skip, {"value": '"Nobody Ltd"'})
        shown = await ada.open(done.headers["location"])
        await becomes(site, run_id, "succeeded")
        stale = await bob.send(skip, {"value": '"Anybody"'}, status=409)

    assert f"meshline exception skip {skip.split('/')[2]}" in page
    assert f"meshline exception retry {skip.split('/')[2]}" in page and "--set" in page
    assert done.headers["location"].startswith(f"/runs/{run_id}?")
    assert "The step is left out" in shown
    assert "It has moved on" in stale.text


async def past(ada: Browser, run_id: str, event: int) -> str:
    return await ada.open(f"/runs/{run_id}?event={event}")


async def test_a_run_is_shown_after_each_of_its_events_with_nothing_to_do_there(site: Site) -> None:
    run_id = await begun(site, "F-1", ADA, "waiting")
    async with site.as_("ada", "admin") as ada:
        now = await ada.open(f"/runs/{run_id}")
        [(least, most)] = re.findall(r'name="event" id="moment" min="(\d+)" max="(\d+)"', now)
        first = await past(ada, run_id, int(least))
        before = await past(ada, run_id, 1)
        last = await past(ada, run_id, int(most))
        [(number, _)] = re.findall(
            r"\?event=(\d+)\">(?:(?!</li>).)*(assigned|owner is)[^<]*team:enterprise",
            now,
            re.DOTALL,
        )[:1]
        routed = await past(ada, run_id, int(number))
        unrouted = await past(ada, run_id, int(number) - 1)
        much_later = await ada.open(f"/runs/{run_id}?as_of=2100-01-01T00:00")
        beyond = await past(ada, run_id, int(most) + 7)
        of_then = await ada.open(f"/runs/{run_id}?event={int(number) - 1}&type=owner.assigned")
        of_now = await ada.open(f"/runs/{run_id}?type=owner.assigned")

    assert "is-waiting" in now and "is-waiting" in last and "is-waiting" not in first
    assert len(events(first)) < len(events(last)) and events(before) == events(first)
    assert 'action="/runs/' in now and f'action="/runs/{run_id}/cancel"' not in last
    assert f"After event {most} of {most}" in beyond
    # How late something is counts from the moment that is looked at.
    assert 'class="late"' not in last and 'class="late"' in much_later
    assert len(events(of_then)) == len(events(of_now)) - 1
    assert f"event={int(least) + 1}#past" in first and "One event back" not in first
    assert "team:enterprise" in routed.partition('id="payloads"')[0]
    assert "team:enterprise" not in unrouted.partition('id="payloads"')[0]
