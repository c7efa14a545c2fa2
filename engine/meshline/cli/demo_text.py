"""What the demo prints: read from the views, and said for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from meshline.cli.exception_text import cut
from meshline.cli.place import DEMO, HOME, is_used
from meshline.cli.storytelling import story_lines
from meshline.cli.tables import BOLD, Column, is_rich, styled, write_table
from meshline.cli.words import prompt_name, short

if TYPE_CHECKING:
    from meshline.cli.output import Output
    from meshline.events.publish import Answer, RequestAnswer
    from meshline.events.requests import ApprovalSubmitted
    from meshline.projections.queries import Views
    from meshline.projections.runs_view import RunRow
    from meshline.workflow.spec import WorkflowSpec

__all__ = ["Decided", "Seen", "write_demo"]

ROWS_MAX = 8
"""Of refused triggers; the others are counted."""


class Decided(NamedTuple):
    """What a person said to an approval, and what the keeper answered."""

    by: str
    submitted: ApprovalSubmitted
    answer: RequestAnswer


@dataclass(frozen=True)
class Seen:
    """What the demo itself has seen; all else is read from the views."""

    answers: list[Answer]
    published_s: float
    took_s: float
    records: int
    decided: list[Decided]
    spec: WorkflowSpec
    log: str


class _Page:
    """Headings, lines and tables on stdout; bold where a terminal shows it."""

    def __init__(self, out: Output) -> None:
        self._stream = out.stdout
        self._is_rich = is_rich(out.stdout)

    def heading(self, text: str) -> None:
        self.line(f"\n{styled(text, BOLD)}" if self._is_rich else f"\n{text}")

    def line(self, *lines: str) -> None:
        for text in lines:
            self._stream.write(text + "\n")

    def table(self, columns: Sequence[Column], rows: Sequence[Any]) -> None:
        write_table(self._stream, columns, rows, indent=2)


async def write_demo(out: Output, views: Views, seen: Seen, now: datetime) -> None:
    """Write what went in, what came of it, and what to type next."""
    page = _Page(out)
    _what_went_in(page, seen)
    page.heading("Runs by state")
    page.table(_STATES, await _states(views))
    page.heading("Who owns what is open")
    page.table(_OWNERS, await views.owners())
    page.heading("Open exceptions, by cause")
    page.table(_GROUPS, await views.exception_groups())
    _decisions(page, seen.decided)
    run = await _told_run(views, seen)
    if run is not None:
        page.heading(f"The story of one run, {short(run.run_id)}")
        page.line(*(f"  {line}" for line in story_lines(await views.history(run.run_id))))
    await _refused(page, views)
    await _next(page, views)


def _what_went_in(page: _Page, seen: Seen) -> None:
    counts = Counter(answer.status for answer in seen.answers)
    total = len(seen.answers)
    page.heading(f"{total} submissions of a web form went in")
    page.line(
        f"  {counts['accepted']} accepted, {counts['repeated']} repeated, "
        f"{counts['rejected']} rejected; all answered after {seen.published_s:.1f} s",
        f"  and carried out after {seen.took_s:.1f} s, with all retries: "
        f"{seen.records:,} events in the log",
        f"  workflow {seen.spec.name} v{seen.spec.version} · log {seen.log}",
    )


class _State(NamedTuple):
    state: str
    runs: int
    waiting_on: str


_STATES = (
    Column("state", lambda s: s.state),
    Column("runs", lambda s: str(s.runs), right=True),
    Column("waiting on", lambda s: s.waiting_on),
)
_ORDER = ("running", "waiting", "held", "paused", "failed", "cancelled", "succeeded")


async def _states(views: Views) -> list[_State]:
    counts = await views.run_counts()
    found = []
    for state in _ORDER:
        if counts.get(state):
            rows = (await views.runs(states=[state], limit=1000)).rows
            waits = Counter(f"{w['kind']} {w['about']}".strip() for row in rows for w in row.waits)
            words = (f"{wait} ({count})" for wait, count in waits.most_common(4))
            found.append(_State(state, counts[state], ", ".join(words)))
    return found


_OWNERS = (
    Column("owner", lambda o: o.owner),
    Column("runs", lambda o: str(o.runs), right=True),
    Column("held", lambda o: str(o.held), right=True),
    Column("exceptions", lambda o: str(o.exceptions), right=True),
    Column("approvals", lambda o: str(o.approvals), right=True),
)
_GROUPS = (
    Column("cause", lambda g: g.cause, whole=True),
    Column("kind", lambda g: g.kind),
    Column("open", lambda g: str(g.open), right=True),
    Column("route", lambda g: ", ".join(g.routes)),
    Column("what happened", lambda g: cut(g.message)),
)


def _decisions(page: _Page, decided: list[Decided]) -> None:
    if not decided:
        return
    page.heading("What people decided")
    for by, submitted, answer in decided:
        said = f"{by} {submitted.decision} {submitted.approval} of run {short(answer.run_id)}"
        if submitted.form:
            said += ", " + ", ".join(f"{name} {value}" for name, value in submitted.form.items())
        if submitted.reason:
            said += f": {submitted.reason}"
        if answer.status == "rejected":
            said += f" – refused ({answer.code})"
        page.line(f"  {said}")


async def _told_run(views: Views, seen: Seen) -> RunRow | None:
    """The run with the most to tell among those that people decided about, or of all."""
    decided = [await views.run(each.answer.run_id) for each in seen.decided]
    runs = decided or (await views.runs(states=["succeeded"], limit=50)).rows
    return max(runs, key=lambda run: (run.state == "succeeded", run.events), default=None)


_TRIGGERS = (
    Column("id", lambda t: t.trigger_id, whole=True),
    Column("code", lambda t: t.code or ""),
    Column("why", lambda t: cut(_problems(t))),
)


def _problems(trigger: Any) -> str:
    problems = (f"{p['pointer'] or '/'}: {p['message']}" for p in trigger.problems)
    return "; ".join(problems) or trigger.reason or ""


async def _refused(page: _Page, views: Views) -> None:
    counts = await views.trigger_counts()
    rejected = (await views.triggers(statuses=["rejected"], limit=1000)).rows
    repeated = (await views.triggers(statuses=["repeated"], limit=1000)).rows
    page.heading(f"Refused: {counts.get('rejected', 0)} triggers, each kept with its reason")
    # One of each kind first: the same problem ten times tells no more than once.
    first_of_kind = {_problems(row).rpartition(":")[0]: row for row in rejected}
    page.table(_TRIGGERS, list(first_of_kind.values())[:ROWS_MAX])
    if left := len(rejected) - min(len(first_of_kind), ROWS_MAX):
        page.line(f"  … and {left} more like these")
    page.heading(f"Repeated: {counts.get('repeated', 0)} triggers that were runs already")
    ids = [row.trigger_id for row in repeated]
    more = f" … and {len(ids) - 10} more" if len(ids) > 10 else ""
    page.line("  " + ", ".join(sorted(ids)[:10]) + more)


async def _next(page: _Page, views: Views) -> None:
    name = prompt_name()
    home = f" --home {HOME / DEMO}" if is_used(HOME) else ""
    held = (await views.runs(states=["held"], limit=1)).rows
    asked = (await views.approvals(limit=1)).rows
    rejected = (await views.triggers(statuses=["rejected"], limit=1)).rows
    page.heading("What to type next")
    lines = [(f"{name} run list{home}", "everything that ran, and what it waits for")]
    if held:
        lines.append((f"{name} run show {short(held[0].run_id)}{home}", "a run that is held"))
    if rejected:
        at = f"{rejected[0].partition}:{rejected[0].log_offset}"
        lines.append((f"{name} trigger show {at}{home}", "a trigger that was refused"))
    lines.append(
        (f"{name} dev examples/lead_intake.py --home {HOME / DEMO}", "go on with these runs, and")
    )
    if asked:
        form = """'{"discount_percent": 10}'"""
        run_id = short(asked[0].run_id)
        lines.append((f"{name} approval approve {run_id} --form {form}{home}", "decide one"))
    width = max(len(typed) for typed, _ in lines)
    page.line(*(f"  {typed.ljust(width)}  {what}" for typed, what in lines))
