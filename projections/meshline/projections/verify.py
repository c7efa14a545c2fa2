"""What does not hold of views: rows, places in the log, and events that they left lying."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing

from meshline.events.fence import Fence
from meshline.events.log import EventLog, LogRecord
from meshline.events.violations import Violation, violation
from meshline.projections.errors import NotFound, NotSwappable
from meshline.projections.from_scratch import Difference
from meshline.projections.intake import event_id_of
from meshline.projections.projection import Projection
from meshline.projections.rebuild_verify import Verdict, Verification
from meshline.projections.store import Checkpoint, ViewStatus

__all__ = ["check_books", "check_checkpoint", "check_rows", "name_of"]


def name_of(status: ViewStatus) -> str:
    """Return what a build is called where it is named."""
    again = "" if status.build == 1 else f" build {status.build}"
    return f"{status.name} version {status.version}{again}"


def check_books(statuses: Iterable[ViewStatus], log_id: str) -> Iterator[Violation]:
    """Yield what the views' own books say: made from another log, or something left lying."""
    for status in statuses:
        name = name_of(status)
        if status.log_id != log_id:
            yield violation(
                "checkpoint_wrong", f"made from log {log_id}", status.log_id, about=name
            )
        if status.parked and status.state != "retired":
            found = f"{status.parked} events are parked, {status.stopped} runs stand still"
            yield violation("view_parked", "every event taken in", found, about=name)


def check_checkpoint(
    name: str, partition: int, checkpoint: Checkpoint, fence: Fence, last: LogRecord | None
) -> Iterator[Violation]:
    """Yield whether a view's checkpoint is not what its projector writes at that offset.

    Args:
        fence: as it is there.
        last: the record before it.
    """
    event_id = "" if last is None else event_id_of(last.value)
    right = (fence.epoch, fence.sequence, event_id)
    said = (checkpoint.epoch, checkpoint.sequence, checkpoint.event_id)
    if said != right:
        yield violation(
            "checkpoint_wrong",
            "epoch {}, number {} and event {!r} there".format(*right),
            "epoch {}, number {} and event {!r}".format(*said),
            partition=partition,
            offset=checkpoint.offset,
            about=name,
        )


async def check_rows(
    log: EventLog,
    address: str,
    projections: Iterable[Projection],
    statuses: Iterable[ViewStatus],
    progress: Callable[[int], None] = lambda count: None,
) -> AsyncIterator[Violation]:
    """Build each live view anew beside the live one, compare them, and yield what differs.

    Args:
        progress: is told how many events more are done.
    """
    known = {projection.name: projection for projection in projections}
    for status in statuses:
        if status.state != "live" or status.log_id != log.identity.log_id:
            continue
        projection = known.get(status.name)
        if projection is None:
            found = "its code is not at hand"
            yield violation("view_unchecked", "a comparison", found, about=name_of(status))
            continue
        check = Verification(log, address, projection)
        done = 0
        try:
            async with aclosing(check.run()) as running:
                async for made in running:
                    progress(max(0, made.done - done))
                    done = made.done
        except (NotFound, NotSwappable) as error:
            yield violation("view_unchecked", "a comparison", error.message, about=name_of(status))
            continue
        assert check.verdict is not None, "a verification that ends has compared"
        for each in _rows_wrong(check.verdict, name_of(status)):
            yield each


def _rows_wrong(verdict: Verdict, name: str) -> Iterator[Violation]:
    for sample in verdict.samples:
        yield violation("view_row_wrong", *_in_words(sample), about=f"{name}, {_where(sample)}")
    more = verdict.different - len(verdict.samples)
    if more > 0:
        found = f"{more:,} more rows differ"
        yield violation("view_row_wrong", f"{verdict.rows:,} equal rows", found, about=name)


def _where(sample: Difference) -> str:
    return f"{sample.table} {', '.join(map(str, sample.key))}"


def _in_words(sample: Difference) -> tuple[str, str]:
    """Return what the log makes of the row, and what it is."""
    if sample.here is None:
        return f"the row {sample.there!r}"[:1000], "no such row"
    if sample.there is None:
        return "no such row", f"the row {sample.here!r}"[:1000]
    fields = sample.fields()
    right = ", ".join(f"{name}={there!r}" for name, (_, there) in fields.items())
    found = ", ".join(f"{name}={here!r}" for name, (here, _) in fields.items())
    return right[:1000], found[:1000]
