"""All that is somebody's, and giving it to another: what the page showed, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from meshline.console import handing_over
from meshline.events.directory import Directory, Group, Person
from meshline.events.envelope import Actor
from meshline.events.people_requests import DirectoryChangeRequested
from meshline.events.requests import OwnerChangeRequested
from meshline.workflow.registry import Registry
from tests.api.leads import leads
from tests.console.site import Site, site_at
from tests.console.test_app import ADA, SMALL, begun

pytestmark = pytest.mark.postgres

DIRECTORY = Directory(
    users={name: Person() for name in ("ada", "bob", "cid")},
    roles={"sales-lead": Group(members=("user:ada",)), "admin": Group(members=("user:cid",))},
)
FAILS = SMALL | {"company": "Nobody"}


@pytest.fixture
async def site(postgres_address: str) -> AsyncIterator[Site]:
    async with site_at(postgres_address, Registry(leads)) as site:
        yield site


async def admins(site: Site) -> None:
    change = DirectoryChangeRequested(number=1, directory=DIRECTORY)
    actor = Actor("user", "user:cid")
    said = await site.publisher.request_everywhere("d", change, actor=actor, wait_s=30)
    assert {answer.status for answer in said} == {"accepted"}


async def owned(site: Site, run_id: str, owner: str) -> None:
    answer = await site.publisher.request(
        run_id, OwnerChangeRequested(owner=owner), actor=Actor("user", "user:cid"), wait_s=30
    )
    assert answer.status == "accepted"
    at = answer.decided_at or answer.position
    await site.views.reached([at], ["runs", "handovers"], timeout_s=9)


async def test_all_that_is_somebody_s_goes_to_another_with_a_line_for_each(site: Site) -> None:
    waits = await begun(site, "F-1", ADA, "waiting")
    held = await begun(site, "F-2", FAILS, "held")
    for run_id in (waits, held):
        await owned(site, run_id, "user:ada")
    [exception] = (await site.views.exceptions(run_id=held)).rows
    async with site.as_("cid", "admin") as cid:
        owners = await cid.open("/owners")
        page = await cid.open("/possessions?owner=user:ada")
        done = await cid.send(
            "/possessions/hand-over", {"owner": "user:bob", "reason": "Ada has left"}, status=200
        )
        triage = await cid.open("/possessions?owner=queue:triage")
        of_triage = await cid.send("/possessions/hand-over", {"owner": "user:bob"}, status=200)
        of_bob = await cid.open("/possessions?owner=user:bob")

    assert "/possessions?owner=user%3Aada" in owners
    assert "meshline owner handover user:ada" in page and f"/v1/runs/{min(waits, held)}" in page
    assert "Hand over 2 things" in page
    assert "2 went to <bdi>user:bob</bdi>" in done.text
    assert "Nothing that is open is theirs." in done.text
    assert "Ada has left" in done.text, "what left them is below"
    assert exception.exception_id in triage and "1 went to" in of_triage.text
    assert "Hand over 3 things" in of_bob
    assert {(await site.views.run(run_id)).owner for run_id in (waits, held)} == {"user:bob"}


async def test_what_is_another_s_by_now_stays_theirs_and_is_named(site: Site) -> None:
    run_ids = [await begun(site, f"F-{n}", ADA, "waiting") for n in (1, 2)]
    for run_id in run_ids:
        await owned(site, run_id, "user:ada")
    async with site.as_("cid", "admin") as cid:
        await cid.open("/possessions?owner=user:ada")
        await owned(site, run_ids[0], "team:emea")
        done = await cid.send("/possessions/hand-over", {"owner": "user:bob"}, status=200)
        again = await cid.send("/possessions/hand-over", {"owner": "user:bob"}, status=200)
        cid.page = cid.page.replace(run_ids[1], run_ids[0])
        another = {"owner": "user:eve", "once": "another page"}
        stale = await cid.send("/possessions/hand-over", another, status=409)

    assert "1 went to" in done.text and "1 did not go" in done.text
    assert f"/runs/{run_ids[0]}" in done.text and "team:emea" in done.text
    assert "1 went to" in again.text, "sent twice, it asks once"
    assert "It has moved on" in stale.text and "Nothing went to user:eve" in stale.text
    assert (await site.views.run(run_ids[0])).owner == "team:emea"
    [gave] = (await site.views.handovers(owner="user:bob")).rows
    assert gave.run_id == run_ids[1]


async def test_who_has_more_than_a_page_hands_it_over_page_by_page(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handing_over, "THINGS_MAX", 2)
    for number in range(3):
        run_id = await begun(site, f"F-{number}", ADA, "waiting")
        await owned(site, run_id, "user:ada")
    async with site.as_("cid", "admin") as cid:
        page = await cid.open("/possessions?owner=user:ada")
        first = await cid.send("/possessions/hand-over", {"owner": "user:bob"}, status=200)
        cid.page = first.text
        second = await cid.send("/possessions/hand-over", {"owner": "user:bob"}, status=200)

    assert "There is more" in page
    assert "2 went to" in first.text and "Hand it over" in first.text
    assert "1 went to" in second.text and "Nothing that is open is theirs." in second.text


async def test_only_admins_and_whose_it_is_hand_over_and_nobody_gives_to_nobody(
    site: Site,
) -> None:
    await admins(site)
    run_id = await begun(site, "F-1", ADA, "waiting")
    await owned(site, run_id, "user:ada")
    async with site.as_("ada", "operator") as ada, site.as_("bob", "operator") as bob:
        await bob.open("/possessions?owner=user:ada")
        refused = await bob.send("/possessions/hand-over", {"owner": "user:bob"}, status=409)
        await ada.open("/possessions?owner=user:ada")
        nobody = await ada.send("/possessions/hand-over", {"owner": "bob!"}, status=400)
        nothing = await ada.send(
            "/possessions/hand-over", {"owner": "user:bob", "things": "[]"}, status=400
        )
        await ada.send("/possessions/hand-over", {"owner": "user:bob"}, status=200)
    async with site.as_("eve", "viewer") as eve:
        seen = await eve.open("/possessions?owner=user:bob")
    await site.user("tea", "admin", workflows=["another"])
    async with site.as_("tea") as tea:
        hidden = await tea.open("/possessions?owner=user:bob")

    assert "Nothing went to user:bob" in refused.text
    assert "&#39;bob!&#39; is nobody" in nobody.text
    assert "There is nothing to hand over" in nothing.text
    assert run_id in seen and "/possessions/hand-over" not in seen
    assert run_id not in hidden
    assert (await site.views.run(run_id)).owner == "user:bob"
