"""The same rows by the library ``eventsourcing``: its recorder, its ProjectionRunner.

Each event is one transaction there: rows and tracking together, as the library's guide has it. It
gets the same synchronous_commit=off, and the events that change no row are left out by topic.
"""

from __future__ import annotations

import json
import os
import time
from collections import defaultdict
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import UUID

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from eventsourcing.utils import get_topic
from psycopg.sql import SQL
from rebuild_log import entries_of

from meshline.events.codec import decode, plain
from meshline.projections.columns import to_json

__all__ = ["project"]

WAIT_S = 1_800.0
INSERT_EVENTS = 500


class Said(Aggregate.Event):
    actor: str | None
    data: dict[str, Any]


class TriggerReceived(Said):
    pass


class TriggerAccepted(Said):
    pass


class RunStarted(Said):
    pass


class StepStarted(Said):
    pass


class StepFailed(Said):
    pass


class StepSucceeded(Said):
    pass


class ExceptionOpened(Said):
    pass


class ExceptionAssigned(Said):
    pass


class ExceptionResolved(Said):
    pass


class OwnerAssigned(Said):
    pass


class RunSucceeded(Said):
    pass


KINDS: dict[str, type[Said]] = {kind.__name__: kind for kind in Said.__subclasses__()}
WITHOUT_ROWS = (TriggerReceived, TriggerAccepted)

TABLES = (
    "create table if not exists es_runs (run_id uuid primary key, workflow text, version int, "
    "source text, trigger_type text, trigger_id text, state text, owner text, "
    "exception_route text, expected_outcome text, due_at timestamptz, started_at timestamptz, "
    "ended_at timestamptz, outcome jsonb, open_exceptions int, changed_at timestamptz, events int)",
    "create table if not exists es_ownership (run_id uuid primary key, owner text, number int, "
    "since timestamptz, until timestamptz, actor text, rule text, reason text)",
    "create table if not exists es_periods (run_id uuid, number int, owner text, "
    "since timestamptz, until timestamptz, actor text, rule text, reason text, "
    "primary key (run_id, number))",
    "create table if not exists es_exceptions (exception_id text primary key, run_id uuid, "
    "kind text, about text, route text, owner text, severity text, state text, cause text, "
    "message text, opened_at timestamptz, resolved_at timestamptz, how text)",
)
NOTED = "update es_runs set changed_at = %(at)s, events = events + 1"
THIS_RUN = " where run_id = %(run)s"
FIRST_PERIOD = "%(run)s, 1, %(owner)s, %(at)s, null, %(actor)s, null, ''"
STATEMENTS: dict[type[Said], tuple[str, ...]] = {
    RunStarted: (
        "insert into es_runs values (%(run)s, %(workflow)s, %(version)s, %(source)s, "
        "%(trigger_type)s, %(trigger_id)s, 'running', %(owner)s, %(exception_route)s, "
        "%(expected_outcome)s, %(due_at)s, %(at)s, null, null, 0, %(at)s, 1)",
        f"insert into es_ownership values ({FIRST_PERIOD})".replace("1, %(owner)s", "%(owner)s, 1"),
        f"insert into es_periods values ({FIRST_PERIOD})",
    ),
    OwnerAssigned: (
        f"{NOTED}, owner = %(owner)s{THIS_RUN}",
        "update es_periods p set until = %(at)s from es_ownership o "
        "where p.run_id = %(run)s and o.run_id = p.run_id and p.number = o.number",
        "update es_ownership set owner = %(owner)s, number = number + 1, since = %(at)s, "
        f"actor = %(actor)s, rule = %(rule)s, reason = %(reason)s{THIS_RUN}",
        "insert into es_periods select run_id, number, owner, since, null, actor, rule, reason "
        f"from es_ownership{THIS_RUN}",
    ),
    RunSucceeded: (
        f"{NOTED}, state = 'succeeded', ended_at = %(at)s, outcome = %(outcome)s::jsonb{THIS_RUN}",
        f"update es_ownership set until = %(at)s{THIS_RUN}",
        "update es_periods p set until = %(at)s from es_ownership o "
        "where p.run_id = %(run)s and o.run_id = p.run_id and p.number = o.number",
    ),
    ExceptionOpened: (
        f"{NOTED}, open_exceptions = open_exceptions + 1{THIS_RUN}",
        "insert into es_exceptions values (%(exception_id)s, %(run)s, %(kind)s, %(about)s, "
        "%(route)s, %(owner)s, %(severity)s, 'open', %(cause)s, %(message)s, %(at)s, null, null)",
    ),
    ExceptionAssigned: (
        NOTED + THIS_RUN,
        "update es_exceptions set owner = %(owner)s where exception_id = %(exception_id)s",
    ),
    ExceptionResolved: (
        f"{NOTED}, open_exceptions = open_exceptions - 1{THIS_RUN}",
        "update es_exceptions set state = 'resolved', resolved_at = %(at)s, how = %(how)s "
        "where exception_id = %(exception_id)s",
    ),
    **dict.fromkeys((StepStarted, StepFailed, StepSucceeded), (NOTED + THIS_RUN,)),
}


class Views(PostgresTrackingRecorder):
    def __init__(self, datastore: Any, **more: Any) -> None:
        super().__init__(datastore, **more)
        self.sql_create_statements.extend(SQL(statement) for statement in TABLES)

    def apply(self, event: Said, tracking: Tracking) -> None:
        values = {
            "run": event.originator_id,
            "at": event.timestamp,
            "actor": event.actor,
            **event.data,
        }
        if "outcome" in values:
            values["outcome"] = json.dumps(values["outcome"])
        with self.datastore.transaction(commit=True) as cursor:
            for statement in STATEMENTS[type(event)]:
                cursor.execute(statement, values)
            self._insert_tracking(cursor, tracking)

    def events_applied(self) -> int:
        with self.datastore.get_connection() as connection, connection.cursor() as cursor:
            cursor.execute("select sum(events) from es_runs")
            return int(cursor.fetchone()["sum"])


class Rows(Projection[Views]):
    name = "rows"
    topics = tuple(get_topic(kind) for kind in KINDS.values() if kind not in WITHOUT_ROWS)

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:
        self.view.apply(domain_event, tracking)


class Runs(Application[UUID]):
    name = "runs"


def project(address: str, events: int) -> dict[str, float]:
    """Return events/s and processor time of this process, from empty tables to the last event."""
    os.environ["PGOPTIONS"] = "-c synchronous_commit=off"
    env = _environment(address)
    app = Runs(env)
    last, changing = _record(app, events)
    app.close()
    started, processor = time.perf_counter(), time.process_time()
    with ProjectionRunner(
        application_class=Runs, projection_class=Rows, view_class=Views, env=env
    ) as runner:
        runner.wait(last, timeout=WAIT_S)
        took, processor = time.perf_counter() - started, time.process_time() - processor
        applied = runner.view.events_applied()
    assert applied == changing, f"{applied} of {changing} events are in the rows"
    return {
        "events": events,
        "events_per_s": events / took,
        "cpu_us_per_event": processor / events * 1e6,
    }


def _environment(address: str) -> dict[str, str]:
    parts = urlsplit(address)
    query = dict(parse_qsl(parts.query))
    return {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": parts.path.strip("/"),
        "POSTGRES_HOST": query.get("host") or parts.hostname or "",
        "POSTGRES_PORT": str(parts.port or 5432),
        "POSTGRES_USER": unquote(parts.username or ""),
        "POSTGRES_PASSWORD": unquote(parts.password or ""),
    }


def _record(app: Runs, events: int) -> tuple[int, int]:
    """Fill the library's own recorder.

    Returns:
        The number of the last event that changes a row, and how many do.
    """
    versions: dict[UUID, int] = defaultdict(int)
    waiting: list[Said] = []
    changing: list[int] = []

    def insert() -> None:
        stored = [app.mapper.to_stored_event(event) for event in waiting]
        numbers = app.recorder.insert_events(stored) or ()
        pairs = zip(waiting, numbers, strict=True)
        changing.extend(number for event, number in pairs if not isinstance(event, WITHOUT_ROWS))
        waiting.clear()

    for entry in entries_of(0, events, 0):
        said, run_id = decode(entry.value), UUID(entry.key)
        versions[run_id] += 1
        event = KINDS[type(said.data).__name__](
            originator_id=run_id,
            originator_version=versions[run_id],
            timestamp=said.time,
            actor=said.actor and said.actor.id,
            data=to_json(plain(said.data)),
        )
        waiting.append(event)
        if len(waiting) == INSERT_EVENTS:
            insert()
    if waiting:
        insert()
    return changing[-1], len(changing)
