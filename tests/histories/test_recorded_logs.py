"""Logs that were recorded with released versions: they fold to what they always did, for ever.

To record another one, when there are events that no recorded log has:
    RECORD_LOG=log-2 python -m pytest tests/histories
What was recorded before is never written again.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest

from meshline.engine.core.keeper import Keeper
from meshline.engine.core.reducer import fold
from meshline.engine.core.state import REDUCER_VERSION, PartitionState
from meshline.engine.snapshots import dump_state
from meshline.events import codec
from meshline.events.catalogue import CATALOGUE
from meshline.events.codec import decode, encode
from meshline.events.envelope import Actor, Event
from meshline.events.errors import EventVersionUnknown
from meshline.events.history import History
from meshline.events.log import Entry, LogRecord
from meshline.events.log.memory import MemoryLog
from meshline.events.people_requests import AccessChangeRequested
from meshline.events.requests import (
    CauseActionRequested,
    ParkedActionRequested,
    RefusalReported,
    Request,
)
from meshline.projections.built_in import BUILT_IN
from meshline.projections.from_scratch import compare_views, fold_views
from meshline.testing.keeper_simulation import KeeperSimulation
from meshline.workflow import Registry

FOLDER = Path(__file__).parent
SEEDS = range(1, 81)
STEPS = 400

WHAT_TO_DO = """
A recorded log folds to another state than it did. If `digest` differs, the file was changed: take
it back. If `statuses` differ, old runs have changed their end: take the change of the reducer back.
If only `states` differ, what a state consists of has changed: raise REDUCER_VERSION, so that
snapshots of the old one are void, and write `reducer_version` and `states` of the log again.
"""

Partitions = dict[int, list[LogRecord]]


def recorded() -> list[Path]:
    return sorted(FOLDER.glob("log-*.jsonl.gz"))


def read(path: Path) -> Partitions:
    partitions: Partitions = defaultdict(list)
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            partition, key, value = json.loads(line)
            records = partitions[partition]
            records.append(LogRecord(partition, len(records), key, value.encode(), len(records)))
    return partitions


def folded(records: list[LogRecord]) -> dict[str, Any]:
    """What the records come to."""
    state, history = PartitionState(records[0].partition), History()
    states: list[str] = []
    for record in records:
        history.add(record)
        fold(state, decode(record.value), record.offset)
        if record.offset in (len(records) // 2, len(records) - 1):
            # Half-way most runs are open; at the end all have ended.
            dumped = b"\n".join(dump_state(state))
            states.append(hashlib.blake2b(dumped, digest_size=16).hexdigest())
    runs = {run_id: run.status for run_id, run in state.runs.items()}
    runs |= {run_id: ended.status for run_id, ended in state.ended.items()}
    return {
        "digest": history.digest.hex(),
        "void_facts": state.void_facts,
        "statuses": runs,
        "reducer_version": REDUCER_VERSION,
        "states": states,
    }


def record(name: str) -> None:
    """Write a new log in which every type of event stands, and what it comes to."""
    path = FOLDER / f"{name}.jsonl.gz"
    assert not path.exists(), "what was recorded is never written again"
    worlds = []
    for seed in SEEDS:
        world = KeeperSimulation(Random(seed), STEPS, fan_outs=seed % 2 == 0)
        world.run()
        worlds.append(world.log.records)
        world = KeeperSimulation(Random(seed), STEPS, people=True)
        world.run()
        worlds.append(world.log.records)
    worlds.append(about_no_run())
    partitions: Partitions = {}
    missing = {*CATALOGUE} - types_recorded()
    while True:
        # The one that has most of what is missing, until none has any of it.
        best = max(worlds, key=lambda records: len(missing & types_of(records)))
        if not missing & types_of(best):
            break
        number = len(partitions)
        partitions[number] = [each._replace(partition=number) for each in best]
        missing -= types_of(best)
    assert missing <= {"meshline.log.created.v1"}, missing
    lines = [
        json.dumps([record.partition, record.key, record.value.decode()]) + "\n"
        for records in (*partitions.values(), created(len(partitions)))
        for record in records
    ]
    path.write_bytes(gzip.compress("".join(lines).encode(), 9, mtime=0))
    told = {str(number): folded(records) for number, records in read(path).items()}
    (FOLDER / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")


def about_no_run() -> list[LogRecord]:
    """A keeper is told what no simulated person says: of parked events, and of what was refused."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    keeper = Keeper(PartitionState(0), Registry(), name="recorded", source="recorded")
    records: list[LogRecord] = []

    def put(*entries: Entry) -> None:
        first = len(records)
        records.extend(LogRecord(0, first + n, e.key, e.value, 0) for n, e in enumerate(entries))
        keeper.read(records[first:])

    put(keeper.claim("recorded", now))
    said: list[Request] = [
        ParkedActionRequested(view="owners", partition=0, offset=0, action="retry", reason="seen"),
        ParkedActionRequested(view="owners", partition=0, offset=0, action="skip", reason="seen"),
        RefusalReported(request="meshline.cancel.requested", code="forbidden", reason="no"),
        CauseActionRequested(cause="3" * 12, action="resolve", in_version=2, reason="mended"),
        CauseActionRequested(cause="3" * 12, action="reopen", reason="not after all"),
        AccessChangeRequested(action="revoke key", about="mlk_1f0c2a9b44d1", reason="lost"),
    ]
    actor = Actor("user", "user:ada")
    for number, data in enumerate(said):
        event = Event(str(number), "meshline", "run", now, data, now, actor=actor)
        put(Entry("run", encode(event)))
    put(*keeper.propose(now))
    return records


def created(partition: int) -> list[LogRecord]:
    """The first record of a log, which a simulation has none of."""
    from meshline.events.log.opening import log_created
    from meshline.events.log.protocol import LogIdentity

    identity = LogIdentity("recorded", partition + 1, datetime(2026, 1, 1, tzinfo=UTC))
    entry = log_created(identity, partition)
    return [LogRecord(partition, 0, entry.key, entry.value, 0)]


def types_of(records: list[LogRecord]) -> set[str]:
    found = (re.search(rb'"type":"([^"]*)"', record.value) for record in records)
    return {each[1].decode() for each in found if each is not None}


def types_recorded() -> set[str]:
    return {
        name for path in recorded() for records in read(path).values() for name in types_of(records)
    }


if os.environ.get("RECORD_LOG"):
    record(os.environ["RECORD_LOG"])


@pytest.mark.parametrize("path", recorded(), ids=lambda path: path.name)
def test_a_recorded_log_folds_to_what_it_always_did(path: Path) -> None:
    told = json.loads((FOLDER / path.name.replace(".jsonl.gz", ".json")).read_text("utf-8"))

    found = {str(number): folded(records) for number, records in read(path).items()}

    assert found == told, WHAT_TO_DO


def test_every_type_of_event_is_recorded() -> None:
    assert set(CATALOGUE) <= types_recorded(), "record another log: see the top of this file"


@pytest.mark.parametrize("path", recorded(), ids=lambda path: path.name)
async def test_views_take_in_all_of_a_recorded_log(path: Path) -> None:
    log = await log_of(path)

    store = await fold_views(log)

    assert [p for projection in BUILT_IN for p in await store.parked(projection)] == []


async def log_of(path: Path) -> MemoryLog:
    """The log to be read; each of its partitions is one by itself."""
    partitions = read(path)
    log = MemoryLog()
    await log.open(create_partitions=len(partitions))
    for number, records in partitions.items():
        log._opened.records[number][:] = records
    return log


async def test_what_an_older_reader_does_not_know_waits_for_the_upgrade(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = recorded()[0]
    log = await log_of(path)
    newer = await fold_views(log)
    unknown = "meshline.owner.assigned.v1"

    with monkeypatch.context() as older:
        older.delitem(CATALOGUE, unknown)
        older.delitem(codec._VALIDATORS, unknown)
        views = await fold_views(log)
        parked = [p for projection in BUILT_IN for p in await views.parked(projection)]
        readers = [keeper_of(records) for records in read(path).values()]

    # A view sets the runs that it can't follow aside, and is right about all others.
    stopped = {p.entity for p in parked}
    assert {p.event_type for p in parked if p.why == "unreadable"} == {unknown}
    differing = {str(d.key[0]) for d in await compare_views(views, newer) if d.table == "runs"}
    assert differing and differing <= stopped
    # A worker that can't follow a partition says so, and does not act in it.
    assert any(isinstance(each, EventVersionUnknown) for each in readers)
    # After the upgrade there is nothing that was lost.
    assert await compare_views(await fold_views(log), newer) == []
    assert not any(isinstance(keeper_of(r), EventVersionUnknown) for r in read(path).values())


def keeper_of(records: list[LogRecord]) -> Keeper | EventVersionUnknown:
    keeper = Keeper(PartitionState(records[0].partition), Registry(), name="k", source="s")
    try:
        keeper.read(records)
    except EventVersionUnknown as error:
        return error
    return keeper
