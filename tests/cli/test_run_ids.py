"""Runs named by id, by its beginning, and by their trigger."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from meshline.cli.run_ids import existing, typed_run, whole_id
from meshline.events.ids import run_id_of
from meshline.projections.errors import NotFound
from meshline.projections.queries import Views
from tests.cli import rows
from tests.cli.doubles import FakeViews, TestedCall


def views(*found: object) -> Views:
    return cast(Views, FakeViews({"runs": list(found)}))


def test_a_trigger_names_its_run() -> None:
    assert typed_run("web.forms/F-1") == run_id_of("web.forms", "F-1")
    assert typed_run("web.forms/2026/F-1") == run_id_of("web.forms", "2026/F-1")
    assert typed_run("1f0c") == "1f0c"


async def test_a_run_named_in_full_needs_no_views() -> None:
    assert await whole_id(TestedCall(), rows.RUN) == rows.RUN
    assert await whole_id(TestedCall(), "shop/7") == run_id_of("shop", "7")


async def test_a_beginning_is_looked_up() -> None:
    call = TestedCall(views=FakeViews({"runs": [rows.run()]}))

    assert await whole_id(call, "1f0c") == rows.RUN


async def test_a_run_named_in_full_is_waited_for() -> None:
    fake = FakeViews({"runs": []})
    waiting = asyncio.create_task(existing(cast(Views, fake), rows.RUN, wait_s=30))
    await asyncio.sleep(0)

    fake.lists["runs"].append(rows.run())

    assert await waiting == rows.RUN


async def test_what_may_be_a_slip_is_not_waited_for() -> None:
    with pytest.raises(NotFound):
        async with asyncio.timeout(0.05):
            await existing(views(), "1f0d", wait_s=30)


async def test_a_run_that_does_not_come_is_not_found() -> None:
    with pytest.raises(NotFound):
        await existing(views(), rows.RUN, wait_s=0)
