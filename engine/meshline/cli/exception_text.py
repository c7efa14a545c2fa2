"""Exceptions as people read them: one line in a list, one page of its own."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import orjson

from meshline.cli.tables import Column
from meshline.cli.words import ago, clock_time, due, prompt_name, short

if TYPE_CHECKING:
    from meshline.projections.cause_queries import CauseSeen, ExceptionGroup
    from meshline.projections.exception_view import ExceptionRow

__all__ = ["exception_columns", "group_columns", "group_text", "show_text"]

MESSAGE_LENGTH_MAX = 100
CLOSED = ("resolved", "dismissed")


def exception_columns(now: datetime) -> list[Column]:
    return [
        Column("exception", lambda e: e.exception_id, whole=True),
        Column("kind", lambda e: e.kind),
        Column("about", lambda e: e.about),
        Column("state", lambda e: e.state, stateful=True),
        Column("severity", lambda e: e.severity, whole=True),
        Column("owner (route)", _owner),
        Column("age", lambda e: ago(e.opened_at, now), whole=True),
        Column("message", lambda e: cut(e.message)),
    ]


def _owner(row: ExceptionRow) -> str:
    return row.owner if row.owner == row.route else f"{row.owner} ({row.route})"


def group_columns(now: datetime) -> list[Column]:
    return [
        Column("cause", lambda g: g.cause, whole=True),
        Column("kind", lambda g: g.kind),
        Column("state", _said_of),
        Column("open", lambda g: str(g.open), right=True),
        Column("total", lambda g: str(g.total), right=True),
        Column("runs", lambda g: str(g.runs), right=True),
        Column("route", lambda g: ", ".join(g.routes)),
        Column("last seen", lambda g: ago(g.last_seen, now)),
        Column("message", lambda g: cut(g.message)),
    ]


def _said_of(group: ExceptionGroup) -> str:
    if group.resolved_at is None:
        return group.state
    mended = f"resolved in v{group.in_version} by {group.resolved_by or 'somebody'}"
    if group.state != "reopened" or group.reopened_at is None:
        return f"{mended}, {clock_time(group.resolved_at)}"
    again = f"in v{group.reopened_version}" if group.reopened_version else f"by {group.reopened_by}"
    return f"reopened {again}, {clock_time(group.reopened_at)}; {mended}"


_LEVELS = "▁▂▃▄▅▆▇█"


def group_text(seen: CauseSeen, now: datetime) -> str:
    """Return the page of a group."""
    group, name = seen.group, prompt_name()
    runs = "run" if group.runs == 1 else "runs"
    lines = [
        f"Group {group.cause}",
        f"  kind       {group.kind}",
        f"  state      {_said_of(group)}",
        f"  open       {group.open:,} of {group.total:,}, in {group.runs:,} {runs}",
        f"  route      {', '.join(group.routes)}",
        f"  first      {clock_time(group.first_seen)} ({ago(group.first_seen, now)})",
        f"  last       {clock_time(group.last_seen)} ({ago(group.last_seen, now)})",
    ]
    if group.resolution:
        lines.append(f"  reason     {group.resolution}")
    lines += [
        f"  strikes    {hit.workflow} from {hit.source or 'nowhere'}: {hit.open:,} open of "
        f"{hit.total:,}"
        for hit in seen.hits
    ]
    most = max(each.exceptions for each in seen.opened)
    drawn = "".join(_level(each.exceptions, most) for each in seen.opened)
    lines.append(f"  per {seen.unit:<6} {drawn}  at most {most:,}")
    lines += ["", *(f"  {line}" for line in group.message.splitlines())]
    typed = [f"{name} exception list --cause {group.cause}"]
    if group.open:
        typed.append(f"{name} bulk preview retry --cause {group.cause}")
    end = "reopen" if group.state == "resolved" else "resolve"
    more = "" if end == "reopen" else " --in-version …"
    typed.append(f"{name} exception group {end} {group.cause}{more} --reason '…'")
    return "\n".join([*lines, "", "  Next", *(f"    {line}" for line in typed)])


def _level(count: int, most: int) -> str:
    """Return a character as high as the count; what is not nothing is seen."""
    return " " if not count else _LEVELS[(count * len(_LEVELS) - 1) // most]


def cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MESSAGE_LENGTH_MAX else line[: MESSAGE_LENGTH_MAX - 1] + "…"


def show_text(row: ExceptionRow, now: datetime) -> str:
    """Return the page of an exception."""
    lines = [
        f"Exception {row.exception_id}",
        f"  kind       {row.kind}, {row.severity}"
        + (", holds the run up" if row.blocking else ", holds nothing up"),
        f"  state      {row.state} since {clock_time(_since(row))} ({ago(_since(row), now)})",
        f"  run        {row.run_id} ({row.workflow or 'unknown workflow'})",
        f"  about      {row.about or 'the run'}",
        f"  owner      {row.owner}",
        f"  route      {row.route}",
        f"  cause      {row.cause}",
    ]
    if row.code is not None:
        lines.insert(2, f"  code       {row.code}")
    if row.due_at is not None and row.state not in CLOSED:
        lines.append(f"  due        {due(row.due_at, now)}")
    if row.acknowledged_by:
        lines.append(f"  seen by    {row.acknowledged_by}")
    if row.started_at is not None:
        lines.append(
            f"  worked on  by {row.started_by or 'somebody'} since {clock_time(row.started_at)}"
        )
    if row.how is not None:
        by = f" by {row.resolved_by}" if row.resolved_by else ""
        lines.append(f"  closed     {row.how}{by}")
    if row.dismissed_at is not None:
        lines.append(f"  dismissed  by {row.dismissed_by or 'somebody'}")
    if row.reopened_at is not None:
        by = row.reopened_by or "somebody"
        lines.append(f"  reopened   by {by}, {clock_time(row.reopened_at)}")
    if row.reason:
        lines.append(f"  reason     {row.reason}")
    lines += ["", *(f"  {line}" for line in row.message.splitlines())]
    lines += _data(row)
    if row.error and row.error.get("stack"):
        lines += ["", *(f"    {line}" for line in row.error["stack"].splitlines())]
    return "\n".join(lines + _next(row))


def _data(row: ExceptionRow) -> list[str]:
    """What the person needs to know who must decide, as the step says it."""
    data = ((row.error or {}).get("business") or {}).get("data")
    if data is None:
        return []
    text = orjson.dumps(data, option=orjson.OPT_INDENT_2).decode()
    return ["", *(f"    {line}" for line in text.splitlines())]


def _since(row: ExceptionRow) -> datetime:
    closed = row.resolved_at or row.dismissed_at
    seen = row.started_at or row.acknowledged_at
    return closed or seen or row.reopened_at or row.opened_at


def _next(row: ExceptionRow) -> list[str]:
    name, run_id = prompt_name(), short(row.run_id)
    typed = [f"{name} run show {run_id}"]
    if row.state not in CLOSED:
        start = f"{name} exception"
        typed += (
            [f"{start} retry {row.exception_id}", f"{start} skip {row.exception_id} --value '…'"]
            if row.blocking
            else [
                f"{start} resolve {row.exception_id}",
                f"{start} dismiss {row.exception_id} --reason '…'",
            ]
        )
        typed.append(f"{start} assign user:… {row.exception_id}")
    elif row.state == "dismissed" or row.how == "resolved":
        typed.append(f"{name} exception reopen {row.exception_id}")
    return ["", "  Next", *(f"    {line}" for line in typed)]
