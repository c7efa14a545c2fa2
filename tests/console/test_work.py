"""My work on the console: claimed, completed, and the next one by itself; queues and absences."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from meshline.events.directory import Directory, Group, Person
from meshline.events.envelope import Actor
from meshline.events.people_requests import DirectoryChangeRequested
from meshline.workflow.registry import Registry
from tests.api.houses import HOUSES, houses
from tests.api.leads import leads
from tests.console.site import Site, site_at
from tests.console.test_app import ADA, becomes, begun

pytestmark = pytest.mark.postgres

DIRECTORY = Directory(
    users={name: Person() for name in ("ada", "bob", "cid")},
    teams={"site": Group(members=("user:ada", "user:bob"))},
    roles={"sales-lead": Group(members=("user:ada",)), "admin": Group(members=("user:cid",))},
)
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")


@pytest.fixture
async def site(postgres_address: str) -> AsyncIterator[Site]:
    async with site_at(postgres_address, Registry(leads, houses)) as site:
        change = DirectoryChangeRequested(number=1, directory=DIRECTORY)
        actor = Actor("user", "user:cid")
        said = await site.publisher.request_everywhere("d", change, actor=actor, wait_s=30)
        assert {answer.status for answer in said} == {"accepted"}
        yield site


async def test_work_is_claimed_and_completed_and_the_next_comes_by_itself(site: Site) -> None:
    deal = await begun(site, "F-1", ADA, "waiting")
    house = await begun(site, "H-1", {"street": "Elm 1"}, "waiting", HOUSES)
    first, second = f"/runs/{deal}/approvals/big_deal", f"/runs/{house}/tasks/measure"
    async with site.as_("ada", "approver") as ada, site.as_("bob", "approver") as bob:
        mine = await ada.open("/work")
        bobs = await bob.open("/work")
        await bob.open(f"{second}?next=1")
        claim = f"{second}/actions/claim"
        claimed = await bob.open((await bob.send(claim)).headers["location"])
        taken = await ada.open("/work")
        wrong = await bob.send(f"{second}/completed", {"form.metres": "0"}, status=409)
        await bob.open(f"{second}?next=1")
        done = await bob.send(f"{second}/completed", {"form.metres": "84", "reason": "ok"})
        nothing = await bob.open(done.headers["location"])
        await becomes(site, house, "succeeded")
        ended = await bob.open(second)
        other = await begun(site, "H-2", {"street": "Elm 2"}, "waiting", HOUSES)
        await ada.open(f"{first}?next=1")
        next_one = (await ada.send(f"{first}/approved")).headers["location"]
        run = await ada.open(f"/runs/{other}")

    assert mine.index(first) < mine.index(second)
    assert first not in bobs and "one of <bdi>team:site</bdi>" in bobs
    assert "It is yours." in claimed and "Square metres" in claimed
    assert second not in taken
    assert "form does not fit" in wrong.text
    assert done.headers["location"].startswith("/work?done=completed")
    assert "It is done." in nothing and "Nothing waits for you." in nothing
    assert "84" in ended and "user:bob" in ended and "Complete</button>" not in ended
    assert next_one.startswith(f"/runs/{other}/tasks/measure?next=1&done=approved")
    assert f"/runs/{other}/tasks/measure" in run


async def test_what_somebody_has_is_delegated_and_released(site: Site) -> None:
    house = await begun(site, "H-1", {"street": "Elm 1"}, "waiting", HOUSES)
    page = f"/runs/{house}/tasks/measure"
    async with site.as_("ada", "approver") as ada, site.as_("eve", "viewer") as eve:
        await ada.open(page)
        await ada.open((await ada.send(f"{page}/actions/claim")).headers["location"])
        lent = await ada.send(f"{page}/actions/delegate", {"to": "user:cid", "reason": "busy"})
        shown = await ada.open(lent.headers["location"])
        back = await ada.send(f"{page}/actions/release", {"reason": "too much"})
        free = await ada.open(back.headers["location"])
        seen = await eve.open(page)

    assert "<bdi>user:cid</bdi> may do it for them" in shown
    assert "It is given back." in free and "Claim</button>" in free
    assert "Claim</button>" not in seen and "Complete</button>" not in seen


async def test_who_is_away_says_so_and_their_work_is_another_s(site: Site) -> None:
    deal = await begun(site, "F-1", ADA, "waiting")
    async with site.as_("ada", "approver") as ada, site.as_("bob", "approver") as bob:
        await ada.open("/queues")
        wrong = await ada.send("/absences", {"substitute": "bob", "until": "soon"}, status=422)
        self_ = await ada.send("/absences", {"substitute": "ada", "until": TOMORROW}, status=409)
        said = await ada.send("/absences", {"substitute": "bob", "until": TOMORROW})
        away = await ada.open(said.headers["location"])
        bobs = await bob.open("/work")
        ended = await ada.send("/absences/end")
        here = await ada.open(ended.headers["location"])
        after = await bob.open("/work")

    assert "soon" in wrong.text
    assert "stand in for themselves" in self_.text
    assert "You are away until" in away and "<bdi>user:bob</bdi> stands in" in away
    assert "role:sales-lead" in away and "user:ada" in away
    assert f"/runs/{deal}/approvals/big_deal" in bobs
    assert "for <bdi>user:ada</bdi>, who is away" in bobs
    assert "You are back." in here and "I am away</button>" in here
    assert f"/runs/{deal}/approvals/big_deal" not in after


async def test_work_is_assigned_to_somebody_by_an_admin_and_to_nobody_on_a_stale_page(
    site: Site,
) -> None:
    house = await begun(site, "H-1", {"street": "Elm 1"}, "waiting", HOUSES)
    page = f"/runs/{house}/tasks/measure"
    async with site.as_("cid", "admin") as cid, site.as_("ada", "approver") as ada:
        shown = await cid.open(page)
        await ada.open(page)
        done = await cid.send(f"{page}/actions/assign", {"to": "user:bob", "reason": "he is near"})
        after = await cid.open(done.headers["location"])
        stale = await ada.send(f"{page}/actions/assign", {"to": "user:ada"}, status=409)
        await ada.open(page)
        refused = await ada.send(f"{page}/actions/assign", {"to": "user:ada"}, status=409)

    assert f"meshline task assign {house[:8]} measure --to &#39;user:…&#39;" in shown
    assert f"/v1/runs/{house}/tasks/measure/actions" in shown
    assert "<bdi>user:bob</bdi>" in after and "It has another owner." in after
    assert "It has moved on" in stale.text
    assert "Refused, as things are" in refused.text


async def test_an_absence_begins_and_ends_when_it_says_and_is_said_on_the_page_of_my_work(
    site: Site,
) -> None:
    begins = (datetime.now(UTC) + timedelta(days=2)).strftime("%Y-%m-%dT%H:%M")
    later = (datetime.now(UTC) + timedelta(days=4)).strftime("%Y-%m-%dT%H:%M")
    async with site.as_("ada", "approver") as ada, site.as_("bob", "approver") as bob:
        page = await ada.open("/work")
        wrong = {"substitute": "bob", "since": later, "until": begins}
        turned = await ada.send("/absences", wrong, status=400)
        said = {"substitute": "user:bob", "since": begins, "until": later, "reason": "holidays"}
        answer = await ada.send("/absences", said)
        shown = await ada.open(answer.headers["location"])
        [told] = await site.views.absences(datetime.now(UTC))
        await bob.open("/queues")
        of_another = await bob.send("/absences", said | {"user": "ada"}, status=409)

    assert "meshline owner away user:ada --from" in page
    assert "before it begins" in turned.text
    assert answer.headers["location"].startswith("/work?")
    assert "You are away from" in shown and "<bdi>user:bob</bdi> stands in" in shown
    assert told.since.strftime("%Y-%m-%dT%H:%M") == begins and told.reason == "holidays"
    assert "Refused, as things are" in of_another.text
