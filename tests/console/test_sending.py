"""Sending triggers from the console: one that was refused, set right, and one to try with."""

from __future__ import annotations

import html
from collections.abc import AsyncIterator

import orjson
import pytest

from meshline.console.sending import example_of
from meshline.workflow.registry import Registry
from tests.api.installation import until_seen
from tests.api.leads import SOURCE, leads
from tests.console.site import Site, site_at

pytestmark = pytest.mark.postgres

WRONG = {"email": "ada@example.org", "company": "", "employees": 3}


@pytest.fixture
async def site(postgres_address: str) -> AsyncIterator[Site]:
    async with site_at(postgres_address, Registry(leads)) as site:
        yield site


async def test_a_refused_trigger_is_set_right_and_sent_again(site: Site) -> None:
    refused = await site.publisher.publish(SOURCE, WRONG, trigger_id="F-1", wait_s=30)
    assert refused.status == "rejected" and refused.decided_at is not None
    await site.views.reached([refused.decided_at], ["triggers"], timeout_s=30)
    async with site.as_("ada", "admin") as ada:
        page = await ada.open("/triggers?status=rejected")
        address = f"/triggers/send?source={SOURCE}&id=F-1"
        assert f'href="{html.escape(address)}"' in page
        page = await ada.open(address)
        assert "It was refused, invalid" in page and "ada@example.org" in page
        still = await ada.send("/triggers/send", sent(WRONG | {"employees": "x"}), status=422)
        assert "/company" in still.text and "/employees" in still.text
        answer = await ada.send("/triggers/send", sent(WRONG | {"company": "Acme"}))
        run = await ada.open(answer.headers["location"])

    assert "F-1" in run
    row = await site.views.run(refused.run_id)
    assert row.trigger_id == "F-1"
    await until_seen(site.log, site.views, "history")
    first = (await site.views.history(refused.run_id))[2]
    assert (first.type, first.actor) == ("meshline.trigger.received.v1", "user:ada")


def sent(payload: object) -> dict[str, str]:
    return {
        "source": SOURCE,
        "id": "F-1",
        "type": "",
        "payload": orjson.dumps(payload).decode(),
    }


async def test_a_trigger_to_try_with_begins_as_the_workflow_takes_it(site: Site) -> None:
    async with site.as_("ada", "admin") as ada, site.as_("eve", "viewer") as eve:
        page = await ada.open(f"/triggers/send?source={SOURCE}")
        assert "&#34;employees&#34;: 0" in page
        unnamed = await ada.send("/triggers/send", sent(WRONG) | {"id": " "}, status=400)
        broken = await ada.send("/triggers/send", sent(WRONG) | {"payload": "{"}, status=400)
        assert "You may not publish" in await eve.open("/triggers/send")

    assert "expected both" in unnamed.text
    assert "no JSON" in broken.text


def test_an_example_has_the_shape_of_its_schema() -> None:
    line = {"type": "object", "properties": {"sku": {"type": "string"}}}
    schema = {
        "$defs": {"Line": line, "Loop": {"$ref": "#/$defs/Loop"}},
        "type": "object",
        "properties": {
            "line": {"$ref": "#/$defs/Line"},
            "kind": {"enum": ["b2b", "b2c"]},
            "count": {"type": "integer", "default": 7},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "loop": {"$ref": "#/$defs/Loop"},
            "lines": {"type": "array", "items": line},
        },
    }

    assert example_of(schema) == {
        "line": {"sku": ""}, "kind": "b2b", "count": 7, "note": "", "loop": None, "lines": [],
    }  # fmt: skip
    assert example_of({}) is None
