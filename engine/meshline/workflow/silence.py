"""The definition by which the silence of a source is work for people.

A workflow with ``silent_after`` brings another one with it, which is about its source: each silence
is a run of that, with the same owner and exception route. What watches the sources only says what
it saw; that it is an exception, whose it is and when it is over, is decided here.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic import AwareDatetime, BaseModel, TypeAdapter

from meshline.workflow.data import data_of, hash_of
from meshline.workflow.durations import duration_text
from meshline.workflow.spec import Activity, Observation, Raised, WorkflowSpec

__all__ = [
    "HEARD",
    "SILENT",
    "UNWATCHED",
    "SourceSilent",
    "silence_name",
    "silence_of",
    "silence_source",
]

SILENT, HEARD, UNWATCHED = "silent", "heard", "unwatched"
"""What is reported of a silence: that it is one, that it is over, that nobody cares any more."""

_KIND = "source_silent"


class SourceSilent(BaseModel):
    """What begins a silence: of what, and since when. Whoever sees it says it in the same words."""

    workflow: str
    source: str
    trigger_type: str
    since: AwareDatetime


def silence_name(workflow: str) -> str:
    """Return the name of the definition that is about the silence of the workflow's source."""
    return f"{workflow}.silence"


def silence_source(workflow: str) -> str:
    """Return where the triggers of that definition come from."""
    return f"meshline.silence.{workflow}"


def silence_of(spec: WorkflowSpec) -> WorkflowSpec | None:
    """Return the definition for the silence of the spec's source; None where none is watched."""
    if spec.silent_after_s is None:
        return None
    made = WorkflowSpec(
        name=silence_name(spec.name),
        version=spec.version,
        trigger_type=SourceSilent.__name__,
        trigger=TypeAdapter(SourceSilent),
        source=silence_source(spec.name),
        owner=spec.owner,
        exception_route=spec.exception_route,
        expected_outcome=f"{spec.source} sends {spec.trigger_type} again",
        observe=_observe_silence,
        quiet_s=0.0,
        silence_of=spec.name,
    )
    data = data_of(made, {})
    return replace(made, data=data, spec_hash=hash_of(data))


def _observe_silence(activity: Activity, memo: Any) -> Observation:
    match activity.name:
        case "silent":
            said = activity.payload
            since = datetime.fromisoformat(said["since"])
            message = (
                f"Expected {said['trigger_type']} from {said['source']!r} at least every "
                f"{duration_text(said['silent_after_s'])}, but nothing has come since "
                f"{since:%Y-%m-%d %H:%M:%S} UTC. Ask whether it still sends: when it does, this is "
                "closed."
            )
            return Observation(waiting_on=said["source"], raised=(Raised(_KIND, message, "high"),))
        case "heard":
            return Observation(settled=(_KIND,), ended="succeeded")
        case "unwatched":
            return Observation(settled=(_KIND,), ended="cancelled")
        case _:
            raise LookupError(f"{activity.name!r} says nothing about a silence")
