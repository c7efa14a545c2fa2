"""``meshline verify``: do the invariants hold, of log and views? What does not, and where."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meshline.cli.call import Call, command, end, group, seconds
from meshline.cli.errors import NoLogHere
from meshline.cli.exits import Exit
from meshline.cli.own_views import known_projections
from meshline.cli.place import is_postgres
from meshline.cli.progress import Progress

if TYPE_CHECKING:
    from meshline.engine.core.state import PartitionState
    from meshline.engine.verify import Probe
    from meshline.events.history import Seal
    from meshline.events.log import LogRecord
    from meshline.events.violations import Violation
    from meshline.projections.store import Checkpoint, ViewStatus
    from meshline.workflow.registry import Registry

__all__ = ["app", "checkpoint_probes"]

app = group("Is the history whole, and do the invariants hold?")

SHOWN_MAX = 20
"""Of each kind; all are counted."""

NOT_WHOLE = frozenset({"records_missing", "log_cut_off", "version_unknown"})
"""Views are made from the first record to the last, or not at all."""


@command(app)
async def verify(
    call: Call,
    target: Annotated[
        str | None,
        typer.Argument(metavar="[APP]", help="What the workers carry out; else less is checked."),
    ] = None,
    seal: Annotated[
        list[Path] | None,
        typer.Option("--seal", metavar="FILE", help="Of `meshline log seal`; any number."),
    ] = None,
    log_only: Annotated[
        bool, typer.Option("--log-only", help="Leave views and snapshots out.")
    ] = False,
    patience: Annotated[
        str, typer.Option(metavar="60s", help="What is as old may still be on its way.")
    ] = "60s",
) -> None:
    """Read all of the log and the views, and say what does not hold and where.

    The log: no record is missing or was changed, every trigger has one run or a reason, the first
    outcome of each try counts, no timer is early, nothing comes after a run's end. With APP also:
    tries stay within the policy, and every open run has a wake-up or an exception. The views: rows,
    places in the log and parked events; and the workers' snapshots.

    Nothing is changed. Ends with 1 if there is an error; a warning may be as it should be. Each
    kind is explained in docs/reference/violations.md.

    \b
    Examples:
      meshline verify
      meshline verify examples/lead_intake.py --seal 2026-12-01.seal.json
      meshline verify --log-only --output jsonl | jq .code
    """
    patience_s = seconds(patience, "--patience")
    seals = [_seal(file) for file in seal or ()]
    registry = None if target is None else _registry(target)
    shown: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    with call.out.stream(live=True) as emit:
        async for found in _violations(call, registry, seals, patience_s, log_only):
            wrong[found.severity] += 1
            shown[found.code] += 1
            if shown[found.code] <= SHOWN_MAX:
                emit(found, _text(found))
    for code, count in shown.items():
        if count > SHOWN_MAX:
            call.out.say(f"{code}: {count - SHOWN_MAX:,} more are not shown.")
    call.out.say(f"{wrong['error']:,} errors, {wrong['warning']:,} warnings.")
    end(Exit.FAILED if wrong["error"] else Exit.OK)


def _seal(file: Path) -> tuple[str, Seal]:
    from meshline.events.history import read_seal

    try:
        return str(file), read_seal(file.read_bytes(), str(file))
    except OSError as error:
        raise typer.BadParameter(
            f"cannot read {str(file)!r}: {error}", param_hint="--seal"
        ) from None


def _registry(target: str) -> Registry:
    from meshline.workflow.loading import load_app

    return load_app(target)


async def _violations(
    call: Call,
    registry: Registry | None,
    seals: Sequence[tuple[str, Seal]],
    patience_s: float,
    log_only: bool,
) -> AsyncIterator[Violation]:
    from meshline.cli.processes import snapshots_at
    from meshline.engine.verify import LogCheck
    from meshline.projections.verify import check_books, check_rows

    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(call.log())
        snapshots = None
        # Before the log's end is asked for: none of them can be ahead of it then.
        statuses = [] if log_only else await _statuses(call)
        if statuses and is_postgres(call.place.views):
            there = snapshots_at(call.place.views, log.identity.log_id)
            snapshots = await stack.enter_async_context(there)
        with Progress(call.out, "Records", sum((await log.ends()).values())) as progress:
            check = LogCheck(
                log,
                registry,
                call.clock.now(),
                patience_s=patience_s,
                seals=seals,
                snapshots=snapshots,
                probes=checkpoint_probes([s for s in statuses if s.log_id == log.identity.log_id]),
                progress=progress.advance,
            )
            whole = True
            async for found in check.run():
                whole &= found.code not in NOT_WHOLE
                yield found
        done = check.checked
        call.out.say(
            f"Read {done.records:,} records: {done.runs_open:,} runs are open, "
            f"{done.runs_ended:,} have ended, {done.void_facts:,} facts are void."
        )
        for found in check_books(statuses, log.identity.log_id):
            yield found
        if statuses and not whole:
            call.out.say("The views are not compared: nothing can be made of a log with a hole.")
        elif statuses:
            with Progress(call.out, "Events of views", None) as progress:
                rows = check_rows(
                    log, call.place.views, known_projections(), statuses, progress.advance
                )
                async for found in rows:
                    yield found


async def _statuses(call: Call) -> list[ViewStatus]:
    try:
        async with call.views() as views:
            return [s for s in await views.status() if s.state != "retired" and not s.scratch]
    except NoLogHere:
        call.out.say("There are no views here yet: only the log is checked.")
        return []


def checkpoint_probes(statuses: Sequence[ViewStatus]) -> list[Probe]:
    """Return what the views' checkpoints say of the log."""
    from meshline.engine.verify import Probe
    from meshline.projections.verify import name_of

    return [
        Probe(partition, checkpoint.offset, name_of(s), partial(_look, name_of(s), checkpoint))
        for s in statuses
        for partition, checkpoint in s.checkpoints.items()
    ]


def _look(
    name: str, checkpoint: Checkpoint, state: PartitionState, last: LogRecord | None
) -> Iterator[Violation]:
    from meshline.projections.verify import check_checkpoint

    return check_checkpoint(name, state.partition, checkpoint, state.fence, last)


def _text(found: Violation) -> str:
    where = "  ".join(part for part in (found.at, found.about) if part)
    return "\n".join(
        [
            f"{found.severity:<8} {found.code}  {where}",
            f"  expected  {found.expected}",
            f"  found     {found.found}",
            f"  do        {found.do}",
        ]
    )
