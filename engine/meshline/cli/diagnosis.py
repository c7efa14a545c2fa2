"""The doctor's questions: each gives findings, and one that can't be asked is a finding too."""

from __future__ import annotations

import os
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from meshline.cli.call import Call
from meshline.cli.place import is_postgres, shown
from meshline.cli.words import age
from meshline.events.errors import MeshlineError

if TYPE_CHECKING:
    from meshline.events.log import EventLog
    from meshline.projections.queries import Views

__all__ = ["Finding", "diagnose"]

LAG_S_MAX = 30.0
SKEW_S_MAX = 1.0
UNANSWERED_S_MAX = 30.0
DISK_FREE_MIN = 0.10
APPEND_S_MAX = 30.0
"""From a fact's time to when the log took it; a slow append is no wrong clock."""
WRITERS_LOOKED_AT = 200
POSTGRES_MIN = 150_000
"""As ``server_version_num`` has it: 15."""


class Finding(NamedTuple):
    """One answer; ``do`` is empty where all is well."""

    status: Literal["ok", "warning", "error"]
    about: str
    found: str
    do: str = ""


async def diagnose(call: Call) -> list[Finding]:
    """Ask everything that can be asked; what does not answer is told and keeps nothing up."""
    findings = _machine(call)
    try:
        address = call.place.log
        async with call.log() as log:
            findings.append(await _log(call, log))
            findings.append(await _writers_clocks(log))
            if urlsplit(address).scheme == "kafka":
                findings += await _asked("kafka", lambda: _kafka(address, log))
            else:
                findings += await _asked("postgresql", lambda: _postgres(call, address, "log"))
            findings += await _views(call, log)
    except MeshlineError as error:
        findings.append(Finding("error", "log", error.message, "See what the message says."))
    return findings


async def _asked(about: str, ask: Callable[[], Awaitable[list[Finding]]]) -> list[Finding]:
    try:
        return await ask()
    except MeshlineError as error:
        return [Finding("error", about, error.message, "See what the message says.")]


def _machine(call: Call) -> list[Finding]:
    data, home = call.place.data, call.place.home
    folder = next((f for f in (data, home, home.parent) if f.exists()), Path())
    usage = shutil.disk_usage(folder)
    free = usage.free / usage.total
    found = f"{usage.free / 2**30:.1f} GiB free where {home} is ({free:.0%})"
    if home.exists() and not os.access(home, os.W_OK | os.X_OK):
        do = f"Give this user the right to write there: chown or chmod {home}."
        return [Finding("error", "disk", f"{home} can't be written to by this user", do)]
    if free >= DISK_FREE_MIN:
        return [Finding("ok", "disk", found)]
    status: Literal["warning", "error"] = "warning" if usage.free > 2**30 else "error"
    if not call.place.is_embedded:
        return [
            Finding("warning", "disk", found, "Logs and other files of this machine need room.")
        ]
    return [
        Finding(status, "disk", found, "The embedded log is there and never shrinks: make room.")
    ]


async def _log(call: Call, log: EventLog) -> Finding:
    records = sum((await log.ends()).values())
    return Finding(
        "ok",
        "log",
        f"{log.address}, {log.identity.partitions} partitions, {records:,} records "
        f"(named by {call.place.origin})",
    )


async def _writers_clocks(log: EventLog) -> Finding:
    """Whoever wrote last said by its own clock when; the log has one too."""
    from meshline.cli.log_reading import last_records, readable

    ahead, behind = _NOTHING, _NOTHING
    who = ""
    for record in await last_records(log, await log.ends(), WRITERS_LOOKED_AT):
        event = readable(record)
        if event is None or not event.is_fact:
            continue
        taken = datetime.fromtimestamp(record.appended_ms / 1000, UTC)
        if event.recorded_at - taken > ahead:
            ahead, who = event.recorded_at - taken, f"{record.partition}:{record.offset}"
        behind = max(behind, taken - event.recorded_at)
    if ahead.total_seconds() > SKEW_S_MAX:
        do = "The worker's clock is fast, and its timers early: let all follow one time server."
        found = f"{age(ahead)} ahead of the log's, in the fact at {who}"
        return Finding("error", "workers' clocks", found, do)
    if behind.total_seconds() > APPEND_S_MAX:
        do = "A worker's clock is slow, or its appends are: compare its clock with a time server."
        return Finding("warning", "workers' clocks", f"{age(behind)} behind the log's", do)
    return Finding("ok", "workers' clocks", "as the log's, in the last facts")


# -- Kafka -------------------------------------------------------------------------------------


async def _kafka(address: str, log: EventLog) -> list[Finding]:
    from meshline.events.log.kafka_inspect import REPLICAS_WANTED, inspect_topic, wanted_settings

    topic = await inspect_topic(address)
    wanted = wanted_settings(REPLICAS_WANTED)
    findings = []
    for name, value in wanted.items():
        found = topic.settings.get(name, "unknown")
        if _is_as_wanted(name, found, value):
            findings.append(Finding("ok", f"kafka {name}", found))
            continue
        few = name == "min.insync.replicas" and topic.brokers < REPLICAS_WANTED
        do = f"kafka-configs --alter --topic {topic.name} --add-config {name}={value}"
        findings.append(Finding("warning" if few else "error", f"kafka {name}", found, do))
    replicas = f"{topic.replicas} replicas, {topic.in_sync} in sync, {topic.brokers} brokers"
    if topic.in_sync < topic.replicas:
        do = "A broker is down or behind: bring it back."
        findings.append(Finding("error", "kafka replicas", replicas, do))
    elif topic.replicas < REPLICAS_WANTED:
        do = (
            f"{REPLICAS_WANTED} replicas survive the loss of a broker: kafka-reassign-partitions, "
            "on a cluster of 3 or more. With one broker a lost disk is a lost log."
        )
        findings.append(Finding("warning", "kafka replicas", replicas, do))
    else:
        findings.append(Finding("ok", "kafka replicas", replicas))
    findings += _kafka_rights(topic.name, topic.may_append)
    findings.append(_partitions(topic.partitions, log.identity.partitions))
    if topic.auto_create == "true":
        do = "Set auto.create.topics.enable=false on the brokers: a deleted log comes back empty."
        findings.append(Finding("warning", "kafka auto.create.topics.enable", "true", do))
    elif topic.auto_create is not None:
        findings.append(Finding("ok", "kafka auto.create.topics.enable", topic.auto_create))
    return findings


def _kafka_rights(topic: str, may_append: bool | None) -> list[Finding]:
    if may_append is None:
        return []
    if may_append:
        return [Finding("ok", "kafka rights", "may append")]
    do = f"kafka-acls --add --allow-principal User:NAME --operation Write --topic {topic}"
    return [Finding("error", "kafka rights", "this client has no right to append", do)]


def _partitions(there: int, stored: int) -> Finding:
    if there == stored:
        return Finding("ok", "kafka partitions", f"{there}, as the log was made with")
    do = "The layout is fixed: make a new log, and `meshline log copy` the history into it."
    return Finding("error", "kafka partitions", f"{there}, but the log was made with {stored}", do)


def _is_as_wanted(name: str, found: str, wanted: str) -> bool:
    """Sizes and counts may be larger than wanted."""
    if name in ("max.message.bytes", "min.insync.replicas"):
        return found.isdecimal() and int(found) >= int(wanted)
    return found == wanted


# -- PostgreSQL --------------------------------------------------------------------------------

_SETTINGS = """
select current_setting('fsync') as fsync,
       current_setting('full_page_writes') as full_page_writes,
       current_setting('synchronous_commit') as synchronous_commit,
       current_setting('data_checksums') as data_checksums,
       pg_is_in_recovery() or current_setting('transaction_read_only')::bool as read_only,
       has_database_privilege(current_database(), 'CREATE') as may_create,
       current_user as this_user,
       current_setting('server_version_num')::int as version,
       current_setting('server_version') as version_text,
       clock_timestamp() as now
"""
_RIGHTS = """
select n.nspname || '.' || c.relname as relation, p.privilege
from pg_class c join pg_namespace n on n.oid = c.relnamespace
cross join unnest($2::text[]) as p (privilege)
where n.nspname = $1 and c.relkind = 'r'
and not (has_schema_privilege(n.oid, 'USAGE') and has_table_privilege(c.oid, p.privilege))
order by 1, 2
"""


async def _postgres(call: Call, address: str, what: str) -> list[Finding]:
    from meshline.projections.postgres_connection import Pool, parse_address

    parsed = parse_address(address)
    pool = Pool(parsed, 1)
    try:
        await pool.fetch("select 1")
        before = call.clock.now()
        found = (await pool.fetch(_SETTINGS))[0]
        after = call.clock.now()
        schema = f"{parsed.namespace}_{what}"
        missing = await pool.fetch(_RIGHTS, schema, _PRIVILEGES[what])
    finally:
        await pool.aclose()
    findings = []
    about = f"postgresql ({what})"
    if found["version"] < POSTGRES_MIN:
        do = "Use PostgreSQL 15 or newer."
        findings.append(Finding("error", f"{about} version", found["version_text"], do))
    else:
        findings.append(Finding("ok", f"{about} version", found["version_text"]))
    if what == "log":
        findings += [_durable(about, name, found[name]) for name in _MUST_BE_ON]
        findings.append(_checksums(about, found["data_checksums"]))
    findings += _rights(about, what, found, [(m["relation"], m["privilege"]) for m in missing])
    skew = found["now"] - before if found["now"] < before else max(found["now"] - after, _NOTHING)
    findings.append(_skew(about, abs(skew)))
    return findings


_PRIVILEGES = {
    "log": ["SELECT", "INSERT"],
    "views": ["SELECT", "INSERT", "UPDATE", "DELETE"],
}


def _checksums(about: str, value: str) -> Finding:
    if value == "on":
        return Finding("ok", f"{about} data_checksums", value)
    found = "off: bytes that a disk changes are not noticed by PostgreSQL"
    do = "Stop the server, and pg_checksums --enable. And keep seals: `meshline log seal`."
    return Finding("warning", f"{about} data_checksums", found, do)


def _rights(
    about: str, what: str, found: Mapping[str, Any], missing: Sequence[tuple[str, str]]
) -> list[Finding]:
    if found["read_only"]:
        do = "It is a standby, or set so: name the address of the server that is written to."
        return [Finding("error", f"{about} rights", "the server is read-only", do)]
    user = found["this_user"]
    if missing:
        relation, privilege = missing[0]
        text = f"{user} has no right to {privilege} in {relation}"
        if len(missing) > 1:
            text += f", and {len(missing) - 1} more such"
        schema = relation.partition(".")[0]
        do = f"grant usage on schema {schema} to {user}; "
        do += f"grant {', '.join(_PRIVILEGES[what])} on all tables in schema {schema} to {user};"
        return [Finding("error", f"{about} rights", text, do)]
    if what == "views" and not found["may_create"]:
        text = f"{user} can't create schemas: each build of a view has one of its own"
        do = f"grant create on database NAME to {user};"
        return [Finding("error", f"{about} rights", text, do)]
    return [Finding("ok", f"{about} rights", f"{user} may do what is needed")]


_MUST_BE_ON = ("fsync", "full_page_writes", "synchronous_commit")
_NOTHING = timedelta(0)


def _durable(about: str, name: str, value: str) -> Finding:
    if value != "off":
        return Finding("ok", f"{about} {name}", value)
    do = f"alter system set {name} = on; select pg_reload_conf();"
    return Finding("error", f"{about} {name}", f"off: a crash loses what was accepted ({name})", do)


def _skew(about: str, skew: timedelta) -> Finding:
    if skew.total_seconds() <= SKEW_S_MAX:
        return Finding("ok", f"{about} clock", f"within {age(skew)} of this machine's")
    do = "Let both machines follow one time server: times in the history and timers depend on it."
    return Finding("warning", f"{about} clock", f"{age(skew)} from this machine's", do)


# -- views -------------------------------------------------------------------------------------


async def _views(call: Call, log: EventLog) -> list[Finding]:
    try:
        address = call.place.views
        async with call.views() as views:
            findings = [
                Finding("ok", "views", shown(address)),
                *await _progress(log, views),
                *await _unanswered(call, views),
            ]
    except MeshlineError as error:
        return [Finding("error", "views", error.message, "See what the message says.")]
    if is_postgres(address):
        found = await _asked("views", lambda: _postgres(call, address, "views"))
        is_known = address == call.place.log
        findings += [f for f in found if not is_known or f.about.endswith("rights")]
    return findings


async def _progress(log: EventLog, views: Views) -> list[Finding]:
    findings = []
    statuses = await views.status()
    if not statuses:
        return [Finding("error", "views", "none was ever made", "Start `meshline projector`.")]
    if any(status.log_id != log.identity.log_id for status in statuses):
        do = "Correct --log or --views: these views are of another log."
        return [Finding("error", "views", "made from another log", do)]
    for lag in await views.lag(log):
        about = f"view {lag.name}"
        behind = f"{lag.events:,} events behind, the oldest {lag.seconds:.1f} s"
        if lag.seconds > LAG_S_MAX:
            do = "Is a projector running? `meshline projector`; its messages say what stops it."
            findings.append(Finding("error", about, behind, do))
        else:
            findings.append(Finding("ok", about, behind if lag.events else "up to date"))
    for status in statuses:
        if status.parked:
            found = f"{status.parked} events could not be taken in, {status.stopped} runs stopped"
            do = f"`meshline view parked {status.name}` says why, and what to type next."
            findings.append(Finding("warning", f"view {status.name}", found, do))
    return findings


async def _unanswered(call: Call, views: Views) -> list[Finding]:
    rows = (await views.triggers(statuses=["received"], limit=1000)).rows
    limit = call.clock.now() - timedelta(seconds=UNANSWERED_S_MAX)
    late = [row for row in rows if row.received_at < limit and row.unreadable is None]
    if not late:
        return [Finding("ok", "workers", "no trigger waits for an answer")]
    found = f"{len(late)} triggers without an answer, the oldest from {late[-1].received_at:%H:%M}"
    return [Finding("error", "workers", found, "Is a worker running? `meshline worker APP`.")]
