"""What can be wrong with a history or its views: each kind has a code, and says what to do."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["KINDS", "Kind", "Violation", "violation"]


class Kind(NamedTuple):
    """A kind of violation: the invariant that it breaks (GUARANTEES.md), and what to do about it.

    A ``warning`` may be as it should be; only who operates the log can say.
    """

    invariant: int
    severity: Literal["error", "warning"]
    means: str
    do: str


_BUG = (
    "The keeper that wrote it decided what it must not: keep the log, and report this with the "
    "record and the version of its worker."
)
_RESTORE = (
    "Do not go on writing. Find who changed the log, and restore it from a copy: `meshline verify` "
    "on the copy says whether it is whole."
)
_LOOK = "Is a worker with the run's workflow running? `meshline doctor`, `meshline run show RUN`."
_REBUILD = "Build the view anew: `meshline view rebuild NAME`, then `meshline view swap NAME`."

KINDS: dict[str, Kind] = {
    "request_unanswered": Kind(
        1, "error", "a request has had no answer for longer than the patience", _LOOK
    ),
    "run_begun_twice": Kind(1, "error", "one trigger was accepted as a run twice", _BUG),
    "run_id_wrong": Kind(
        1, "error", "a run's id or partition does not follow from its trigger", _BUG
    ),
    "answer_without_request": Kind(
        1, "error", "a fact answers a request that the log does not hold before it", _RESTORE
    ),
    "fold_failed": Kind(2, "error", "a record that counts can't be applied to the state", _BUG),
    "snapshot_wrong": Kind(
        2,
        "error",
        "a worker's snapshot is not what the log says up to there",
        "Stop the workers and delete the snapshots (the table `snapshots` beside the views): they "
        "are a cache, and are made again. Then look at what the worker did since.",
    ),
    "definition_differs": Kind(
        2,
        "warning",
        "a definition is not the one that the log knows under its name and version",
        "Verify with the app that the workers carry out; a changed definition needs a new version.",
    ),
    "second_outcome": Kind(3, "error", "an outcome counts of a try that was not under way", _BUG),
    "attempt_out_of_turn": Kind(3, "error", "a try began that was not the next", _BUG),
    "attempts_exceeded": Kind(3, "error", "a step failed more often than its policy allows", _BUG),
    "run_stuck": Kind(4, "error", "an open run that nothing and nobody will move", _LOOK),
    "wait_unowned": Kind(4, "error", "a wait or an exception without a name or an owner", _BUG),
    "view_row_wrong": Kind(5, "error", "a row of a view is not what the log makes of it", _REBUILD),
    "checkpoint_wrong": Kind(
        5, "error", "a view's place in the log was not written by its projector", _REBUILD
    ),
    "view_unchecked": Kind(
        5,
        "warning",
        "a view could not be compared",
        "Name its code with MESHLINE_PROJECTIONS, or verify with the version that built it.",
    ),
    "fact_after_end": Kind(6, "error", "a fact counts after its run's end", _BUG),
    "fact_without_run": Kind(6, "error", "a fact is about a run that never began", _RESTORE),
    "fact_out_of_turn": Kind(6, "error", "a fact that must not come as the run stands", _BUG),
    "timer_early": Kind(
        6,
        "error",
        "something happened before its time",
        "Is the clock of the worker right? `meshline doctor` compares it; then: " + _BUG,
    ),
    "timer_unset": Kind(6, "error", "a timer fired that was not set, or fired before", _BUG),
    "view_parked": Kind(
        7,
        "error",
        "a view could not take in an event, and a run stands still in it",
        "`meshline view parked NAME` says why. Correct the projection, then: " + _REBUILD,
    ),
    "record_unreadable": Kind(
        7,
        "warning",
        "a record is no event; readers pass it by, and the views list it",
        "Something else writes to the log's topic or table: find it, and give it its own place. If "
        "a keeper or a publisher of Meshline wrote it, its bytes were changed: restore the log.",
    ),
    "records_missing": Kind(
        8, "error", "records are missing; what stands behind them was not checked", _RESTORE
    ),
    "log_cut_off": Kind(
        8, "error", "the log ends before a position that was read or sealed", _RESTORE
    ),
    "log_wrong": Kind(8, "error", "a partition begins as another log's, or not at all", _RESTORE),
    "history_changed": Kind(8, "error", "records are not those that were sealed", _RESTORE),
    "payload_changed": Kind(
        8, "error", "a trigger's payload is not the one that was accepted", _RESTORE
    ),
    "fact_unreadable": Kind(
        8, "error", "a keeper's record can't be read: it was changed", _RESTORE
    ),
    "facts_lost": Kind(
        8, "error", "a keeper's facts are void although it went on from them", _RESTORE
    ),
    "epoch_unknown": Kind(
        8, "error", "facts are of an epoch that no claim began: records stand elsewhere", _RESTORE
    ),
    "facts_overtook": Kind(
        8,
        "warning",
        "facts are void because one before them is missing",
        "An append that was lost on its way looks so, and its keeper then claims again: nothing to "
        "do. Where a seal or errors beside it say that records are missing, restore the log.",
    ),
    "version_unknown": Kind(
        8,
        "error",
        "a record is of a newer version; what stands behind it was not checked",
        "This program is older than the writer: upgrade it, and verify again.",
    ),
    "seal_of_another_log": Kind(
        8,
        "warning",
        "a seal was made of another log; the records were compared all the same",
        "Of a copy of that log this is to be expected. Else choose the seal of this log.",
    ),
}


class Violation(NamedTuple):
    """One thing that does not hold, and where. ``about`` is a run, a view or a request.

    ``at`` is ``partition:offset``; empty where no single record is meant.
    """

    code: str
    severity: str
    invariant: int
    at: str
    about: str
    expected: str
    found: str
    do: str


def violation(
    code: str,
    expected: str,
    found: str,
    *,
    partition: int | None = None,
    offset: int | None = None,
    about: str = "",
) -> Violation:
    """Return a violation of this kind, with what to do about it."""
    kind = KINDS[code]
    at = "" if partition is None or offset is None else f"{partition}:{offset}"
    return Violation(code, kind.severity, kind.invariant, at, about, expected, found, kind.do)
