"""The doctor: each finding says what was found and, where something is wrong, what to do."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from meshline.cli import diagnosis
from meshline.cli.diagnosis import Finding, diagnose
from meshline.cli.doctor import doctor
from meshline.cli.exits import Exit
from meshline.cli.place import Place
from meshline.events.clock import ManualClock
from meshline.events.codec import encode
from meshline.events.envelope import Event
from meshline.events.errors import LogUnavailable
from meshline.events.facts import RunResumed
from meshline.events.log import Entry
from meshline.events.log.kafka_inspect import TopicState, wanted_settings
from meshline.events.log.memory import MemoryLog
from meshline.projections.lag import ViewLag
from tests.cli import rows
from tests.cli.doubles import NOW, FakeViews, TestedCall, memory_log
from tests.cli.test_publish import ending


def topic(**changes: Any) -> TopicState:
    state: dict[str, Any] = {
        "name": "n.events", "settings": wanted_settings(3), "partitions": 8, "replicas": 3,
        "in_sync": 3, "brokers": 3, "auto_create": "false",
    }  # fmt: skip
    return TopicState(**(state | changes))


async def kafka(monkeypatch: pytest.MonkeyPatch, state: TopicState) -> dict[str, Finding]:
    async def inspect_topic(address: str) -> TopicState:
        return state

    monkeypatch.setattr("meshline.events.log.kafka_inspect.inspect_topic", inspect_topic)
    log = await memory_log(partitions=8)
    return {finding.about: finding for finding in await diagnosis._kafka("kafka://b:1/n", log)}


async def test_a_topic_as_it_must_be_has_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await kafka(monkeypatch, topic())

    assert {finding.status for finding in found.values()} == {"ok"}
    assert not any(finding.do for finding in found.values())


async def test_history_that_expires_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = wanted_settings(3) | {"retention.ms": "604800000", "cleanup.policy": "compact"}

    found = await kafka(monkeypatch, topic(settings=settings))

    assert found["kafka retention.ms"].status == "error"
    assert "--add-config retention.ms=-1" in found["kafka retention.ms"].do
    assert found["kafka cleanup.policy"].status == "error"


async def test_one_broker_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = wanted_settings(1)

    found = await kafka(monkeypatch, topic(settings=settings, replicas=1, in_sync=1, brokers=1))

    assert found["kafka replicas"].status == "warning"
    assert found["kafka min.insync.replicas"].status == "warning"


async def test_a_replica_out_of_sync_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await kafka(monkeypatch, topic(in_sync=2))

    assert found["kafka replicas"].status == "error"


async def test_partitions_that_somebody_added_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await kafka(monkeypatch, topic(partitions=9))

    assert found["kafka partitions"].status == "error"
    assert "meshline log copy" in found["kafka partitions"].do


async def test_brokers_that_make_topics_by_themselves_are_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = await kafka(monkeypatch, topic(auto_create="true"))

    assert found["kafka auto.create.topics.enable"].status == "warning"
    assert len(await kafka(monkeypatch, topic(auto_create=None))) == len(found) - 1


async def test_larger_messages_than_wanted_are_well(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = wanted_settings(3) | {"max.message.bytes": "10000000"}

    found = await kafka(monkeypatch, topic(settings=settings))

    assert found["kafka max.message.bytes"].status == "ok"


async def views_found(*triggers: Any, lag_s: float = 0.0, **status: Any) -> dict[str, Finding]:
    log = await memory_log()
    known = {"name": "runs", "version": 1, "parked": 0, "stopped": 0}
    known |= {"log_id": log.identity.log_id} | status
    lag = ViewLag("runs", 1, "live", 5 if lag_s else 0, lag_s, {})
    views = FakeViews(
        {"status": [SimpleNamespace(**known)], "lag": [lag], "triggers": list(triggers)}
    )
    call = TestedCall(log=log, views=views)
    call.__dict__["place"] = Place(call.place.home, log.address, "memory://views", "test")
    return {finding.about: finding for finding in await diagnosis._views(call, log)}


async def test_views_that_keep_up_are_well() -> None:
    found = await views_found()

    assert {finding.status for finding in found.values()} == {"ok"}


async def test_a_view_far_behind_asks_for_a_projector() -> None:
    found = await views_found(lag_s=100.0)

    assert found["view runs"].status == "error"
    assert "meshline projector" in found["view runs"].do


async def test_views_of_another_log_are_an_error() -> None:
    found = await views_found(log_id="another")

    assert found["views"].found == "made from another log"


async def test_parked_events_are_a_warning() -> None:
    found = await views_found(parked=2, stopped=1)

    assert found["view runs"].status == "warning"
    assert "2 events could not be taken in" in found["view runs"].found


async def test_triggers_that_nobody_decides_ask_for_a_worker() -> None:
    old = rows.trigger(status="received", received_at=NOW - timedelta(minutes=5))

    found = await views_found(old)

    assert found["workers"].status == "error"
    assert "meshline worker" in found["workers"].do


@pytest.mark.parametrize(
    ("seconds", "status"), [(0.0, "ok"), (0.9, "ok"), (1.5, "warning"), (3600, "warning")]
)
def test_clocks_that_differ_are_told(seconds: float, status: str) -> None:
    assert diagnosis._skew("postgresql", timedelta(seconds=seconds)).status == status


def test_a_server_that_does_not_write_through_is_an_error() -> None:
    assert diagnosis._durable("postgresql", "fsync", "off").status == "error"
    assert diagnosis._durable("postgresql", "fsync", "on").status == "ok"


@pytest.mark.parametrize(
    ("off_s", "status"), [(0.0, "ok"), (-20.0, "ok"), (2.0, "error"), (-40.0, "warning")]
)
async def test_a_worker_whose_clock_is_not_the_logs_is_told(off_s: float, status: str) -> None:
    log = MemoryLog(clock=ManualClock(NOW))
    await log.open(create_partitions=1)
    at = NOW + timedelta(seconds=off_s)
    event = Event("x", "s", "run", at, RunResumed(), at).numbered(1, 1, "s")
    await log.append(0, [Entry("run", encode(event))])

    finding = await diagnosis._writers_clocks(log)

    assert finding.status == status
    assert bool(finding.do) == (status != "ok")


def test_a_server_whose_disk_may_change_bytes_is_a_warning() -> None:
    assert diagnosis._checksums("postgresql", "off").status == "warning"
    assert diagnosis._checksums("postgresql", "on").status == "ok"


SERVER = {"read_only": False, "may_create": True, "this_user": "ada"}


def test_a_server_that_only_reads_is_an_error() -> None:
    (finding,) = diagnosis._rights("postgresql", "log", SERVER | {"read_only": True}, [])

    assert (finding.status, "read-only" in finding.found) == ("error", True)


def test_rights_that_are_missing_are_named_and_how_to_give_them() -> None:
    missing = [("n_log.records", "INSERT"), ("n_log.records", "SELECT")]
    (finding,) = diagnosis._rights("postgresql", "log", SERVER, missing)

    assert finding.status == "error"
    assert "ada has no right to INSERT in n_log.records, and 1 more" in finding.found
    assert "grant SELECT, INSERT on all tables in schema n_log to ada" in finding.do


def test_whoever_makes_views_must_make_schemas() -> None:
    no_schemas = SERVER | {"may_create": False}

    assert diagnosis._rights("postgresql", "views", no_schemas, [])[0].status == "error"
    assert diagnosis._rights("postgresql", "log", no_schemas, [])[0].status == "ok"


def test_a_folder_that_can_not_be_written_to_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = TestedCall()
    call.__dict__["place"] = Place(tmp_path, "embedded", "embedded", "test")
    assert diagnosis._machine(call)[0].status in ("ok", "warning")

    # Root may write anywhere, whatever the folder's mode says.
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    assert diagnosis._machine(call)[0].status == "error"


async def test_a_log_that_can_not_be_reached_ends_with_its_own_code(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    call = TestedCall()

    def nowhere(self: Place) -> str:
        raise LogUnavailable("Nobody answers.")

    monkeypatch.setattr(Place, "log", property(nowhere))

    assert await ending(doctor(call)) is Exit.UNREACHABLE
    findings = {finding.about: finding for finding in await diagnose(call)}
    assert findings["log"].found == "Nobody answers."
