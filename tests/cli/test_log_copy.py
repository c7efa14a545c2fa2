"""Copying a log: the same records at the same positions, or nothing."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from meshline.cli.errors import CopyRefused
from meshline.cli.log_copy import copy_log
from meshline.cli.output import Form, Output
from meshline.cli.place import Given
from meshline.cli.progress import Progress
from meshline.events.log import Entry, EventLog, open_log

NUMBERS = itertools.count()


async def log(records: int = 0, partitions: int = 2) -> EventLog:
    """A log at an address of its own, with records in all partitions."""
    opened = open_log(f"memory://copy-{next(NUMBERS)}")
    await opened.open(create_partitions=partitions)
    for number in range(records):
        await opened.append(number % partitions, [Entry(f"k{number}", f"v{number}".encode())])
    return opened


async def records(opened: EventLog) -> list[tuple[Any, ...]]:
    reader = opened.reader(dict.fromkeys(range(opened.identity.partitions), 1))
    found = []
    while fetched := await reader.fetch(1000, 0):
        found += [(r.partition, r.offset, r.key, r.value) for rs in fetched.values() for r in rs]
    return sorted(found)


async def copied(source: EventLog, target: EventLog) -> dict[str, int]:
    progress = Progress(Output(Form.text), "Copied", None)
    return await copy_log(Given(), source.address, target.address, progress)


async def test_a_copy_has_the_same_records_at_the_same_positions() -> None:
    source, target = await log(records=3_500), await log()

    told = await copied(source, target)

    assert told == {"copied": 3_500, "before": 0}
    assert await records(target) == await records(source)


async def test_copying_again_goes_on_where_it_ended() -> None:
    source, target = await log(records=10), await log()
    await copied(source, target)
    await source.append(0, [Entry("k", b"new")])

    told = await copied(source, target)

    assert told == {"copied": 1, "before": 10}
    assert await records(target) == await records(source)


async def test_a_log_with_other_records_is_not_written_to() -> None:
    source, target = await log(records=10), await log(records=2)
    await target.append(0, [Entry("k", b"something else")])
    before = await records(target)

    with pytest.raises(CopyRefused, match="another record stands there"):
        await copied(source, target)

    assert await records(target) == before


async def test_a_longer_log_is_no_copy() -> None:
    source, target = await log(records=2), await log(records=10)

    with pytest.raises(CopyRefused, match="longer than the source"):
        await copied(source, target)


async def test_another_layout_is_refused() -> None:
    with pytest.raises(CopyRefused, match="expected 2"):
        await copied(await log(), await log(partitions=3))


async def test_the_target_is_made_if_it_is_not_there() -> None:
    source = await log(records=4)
    address = f"memory://copy-{next(NUMBERS)}"

    await copy_log(Given(), source.address, address, Progress(Output(Form.text), "Copied", None))

    target = open_log(address)
    await target.open()
    assert await records(target) == await records(source)
