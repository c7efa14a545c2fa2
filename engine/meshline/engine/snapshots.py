"""Snapshots: a partition's state as bytes, so that a start need not fold the whole log.

They are a cache and nothing else: stamped with the log, the position and the reducer's version, and
thrown away whenever one of these does not fit. Deleting all of them loses nothing but time.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Protocol

import orjson

from meshline.engine.core.state import (
    EndedRun,
    NodeState,
    OpenException,
    PartitionState,
    RunState,
    TaskState,
    Undo,
    Vote,
    WaitTuple,
)
from meshline.events.codec import decode, encode
from meshline.events.directory import Directory, Roster
from meshline.events.fence import Fence
from meshline.events.people import Absence, People
from meshline.events.requests import StepError

__all__ = ["NoSnapshots", "SnapshotStore", "dump_state", "load_state"]

RUNS_PER_CHUNK = 5_000


class SnapshotStore(Protocol):
    """Keeps the latest snapshot of each partition of one log."""

    async def load(self, partition: int) -> PartitionState | None:
        """Return the state of the latest snapshot that fits; None: fold from the beginning."""
        ...

    async def save(self, state: PartitionState) -> None: ...

    def save_later(self, state: PartitionState) -> None:
        """Save the state as it is now, without keeping the caller waiting."""
        ...


class NoSnapshots:
    """Keeps nothing."""

    async def load(self, partition: int) -> PartitionState | None:
        return None

    async def save(self, state: PartitionState) -> None:
        return None

    def save_later(self, state: PartitionState) -> None:
        return None


def dump_state(state: PartitionState) -> Iterator[bytes]:
    """Yield the chunks of a snapshot; the first says what the others are.

    All that can change while the chunks are made is taken when the first is asked for: a keeper
    replaces run states and never changes one that it has let go.
    """
    runs = list(state.runs.values())
    ended = list(state.ended.items())
    head = {
        "partition": state.partition,
        "next_offset": state.next_offset,
        "epoch": state.fence.epoch,
        "sequence": state.fence.sequence,
        "void_facts": state.void_facts,
        "runs": len(runs),
        "ended": len(ended),
        "registered": [[name, version, h] for (name, version), h in state.registered.items()],
        "pending": [[cause, encode(event).decode()] for cause, event in state.pending.items()],
        "people": _dump_people(state.people),
    }
    yield orjson.dumps(head)
    for start in range(0, len(runs), RUNS_PER_CHUNK):
        chunk = runs[start : start + RUNS_PER_CHUNK]
        yield orjson.dumps({"runs": [_dump_run(run) for run in chunk]}, default=_plain)
    for start in range(0, len(ended), RUNS_PER_CHUNK * 4):
        some = ended[start : start + RUNS_PER_CHUNK * 4]
        yield orjson.dumps({"ended": some}, default=_plain)


def load_state(chunks: Iterator[bytes]) -> PartitionState:
    """Return the state that the chunks hold.

    Raises:
        ValueError, KeyError, TypeError: they hold none; the caller folds from the beginning.
    """
    head = orjson.loads(next(chunks))
    state = PartitionState(
        partition=head["partition"],
        next_offset=head["next_offset"],
        fence=Fence(head["epoch"], head["sequence"]),
        void_facts=head["void_facts"],
        registered={(name, version): h for name, version, h in head["registered"]},
        pending={cause: decode(value.encode()) for cause, value in head["pending"]},
        people=_load_people(head["people"]),
    )
    for chunk in chunks:
        body = orjson.loads(chunk)
        for dumped in body.get("runs", ()):
            run = _load_run(dumped)
            state.runs[run.run_id] = run
        for run_id, ended in body.get("ended", ()):
            state.ended[run_id] = EndedRun(*ended)
    if (len(state.runs), len(state.ended)) != (head["runs"], head["ended"]):
        raise ValueError(
            f"A snapshot of partition {state.partition} holds {len(state.runs)} open and "
            f"{len(state.ended)} ended runs: expected {head['runs']} and {head['ended']}. Part of "
            "it is missing."
        )
    return state


def _dump_people(people: People) -> dict[str, Any]:
    roster = people.roster
    return {
        "number": people.number,
        "directory_hash": people.directory_hash,
        "directory": None if roster is None else roster.directory.model_dump(mode="json"),
        "gone": sorted(people.gone),
        "absences": [list(absence) for absence in people.absences],
    }


def _load_people(dumped: dict[str, Any]) -> People:
    directory = dumped["directory"]
    roster = None if directory is None else Roster(Directory.model_validate(directory))
    absences = tuple(
        Absence(*who, *map(datetime.fromisoformat, times))
        for *who, since, until, asked in dumped["absences"]
        for times in [(since, until, asked)]
    )
    gone = frozenset(dumped["gone"])
    return People(dumped["number"], dumped["directory_hash"], roster, gone, absences)


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        # orjson writes plain tuples by itself, and no named ones.
        return list(value)
    if isinstance(value, OpenException):
        return {name: getattr(value, name) for name in value.__slots__}
    if isinstance(value, StepError):
        return value.model_dump()
    raise TypeError(f"No form in a snapshot for {type(value).__name__}")


def _dump_run(run: RunState) -> dict[str, Any]:
    # What is as a new run has it is left out: most of a run is.
    dumped = {
        name: value
        for name in RunState.__slots__
        if (value := getattr(run, name)) not in (None, "", False, 0, (), {})
    } | ({"seen": run.seen} if run.seen is not None else {})
    if run.nodes:
        dumped["nodes"] = {name: _dump_node(node) for name, node in run.nodes.items()}
    return dumped


def _dump_node(node: NodeState) -> dict[str, Any]:
    dumped = _changed(node)
    if node.task is not None:
        dumped["task"] = _changed(node.task)
    return dumped


def _changed(state: NodeState | TaskState) -> dict[str, Any]:
    """Return the fields that are not as by default."""
    defaults = state._field_defaults
    return {
        name: value
        for name, value in zip(state._fields, state, strict=True)
        if name not in defaults or value != defaults[name]
    }


def _moment(text: str | None) -> datetime | None:
    # Written in UTC, and so read as such.
    return None if text is None else datetime.fromisoformat(text)


def _load_run(dumped: dict[str, Any]) -> RunState:
    run = RunState(dumped["run_id"])
    for name, value in dumped.items():
        setattr(run, name, value)
    run.payload = dumped.get("payload", "null").encode()
    for name in ("started_at", "due_at", "reported_at"):
        setattr(run, name, _moment(getattr(run, name)))
    run.nodes = {name: _load_node(node) for name, node in run.nodes.items()}  # type: ignore[arg-type]
    for name in ("exceptions", "closed"):
        if name in dumped:
            setattr(run, name, {k: _load_exception(v) for k, v in dumped[name].items()})
    run.waits = tuple(
        WaitTuple(kind, about, _moment(since), _moment(until), owner)  # type: ignore[arg-type]
        for kind, about, since, until, owner in run.waits
    )
    if "undo" in dumped:
        then, reason, steps = dumped["undo"]
        run.undo = Undo(then, reason, tuple(steps))
    if "seen" in dumped:
        run.seen = frozenset(dumped["seen"])
    return run


def _load_exception(dumped: dict[str, Any]) -> OpenException:
    return OpenException(**{**dumped, "since": _moment(dumped["since"])})


def _load_node(dumped: dict[str, Any]) -> NodeState:
    for name in ("since", "at", "first_at"):
        if name in dumped:
            dumped[name] = _moment(dumped[name])
    if "value" in dumped:
        dumped["value"] = dumped["value"].encode()
    if "error" in dumped:
        dumped["error"] = StepError(**dumped["error"])
    if "task" in dumped:
        dumped["task"] = _load_task(dumped["task"])
    return NodeState(**dumped)


def _load_task(dumped: dict[str, Any]) -> TaskState:
    if "due_at" in dumped:
        dumped["due_at"] = _moment(dumped["due_at"])
    if "form" in dumped:
        dumped["form"] = dumped["form"].encode()
    dumped["votes"] = tuple(Vote(*vote) for vote in dumped.get("votes", ()))
    dumped["heirs"] = tuple(dumped.get("heirs", ()))
    return TaskState(**dumped)
