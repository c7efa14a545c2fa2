"""What corrections change in each run of a bulk list, and where they can't be made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from meshline.events.catalogue import type_name
from meshline.events.corrections import Corrected, Correction, changed
from meshline.events.facts import TriggerAccepted
from meshline.projections.bulk_list import Differences
from meshline.projections.history_view import HistoryRow
from meshline.projections.queries import Views
from meshline.projections.run_values import TRIGGER, VALUE_TYPES, previewed, values_in
from meshline.projections.shapes import Shape
from meshline.projections.workflows_view import WorkflowRow

__all__ = ["AT_ONCE", "Trial", "Trials"]

AT_ONCE = 100
"""Runs whose values are read at the same time."""

_ACCEPTED = type_name(TriggerAccepted)


class Trial(NamedTuple):
    """What the corrections would change in a run; ``why`` they can't be made there."""

    corrected: Differences | None
    why: str | None = None


class Trials:
    """Tries corrections on what runs know, and changes nothing."""

    def __init__(self, views: Views, corrections: Iterable[Mapping[str, Any]]) -> None:
        self._views = views
        self._corrections = [Correction.model_validate(each) for each in corrections]
        self._definitions: dict[tuple[str, int], Mapping[str, Any] | None] | None = None
        self._shapes: dict[tuple[str, int, str], Shape | None] = {}

    async def of(self, run_ids: Sequence[str]) -> dict[str, Trial]:
        """Return what comes of it in each of the runs, by id."""
        if self._definitions is None:
            self._definitions = _definitions(await self._views.workflows())
        said = await self._views.said(run_ids, VALUE_TYPES)
        return {run_id: self._trial(said.get(run_id, [])) for run_id in run_ids}

    def _trial(self, history: list[HistoryRow]) -> Trial:
        values = values_in(history)
        try:
            found = previewed(values, self._corrections)
        except ValueError as error:
            return Trial(None, f"it can't be corrected so: {error}")
        if not any(each.changes for each in found):
            return Trial(None, "the corrections change nothing: its values are so already")
        for each in found:
            fault = self._fault(history, values, each)
            if fault is not None:
                return Trial(None, f"it would be no {each.of}: {fault}")
        return Trial([each.model_dump(mode="json") for each in found if each.changes])

    def _fault(
        self, history: list[HistoryRow], values: Mapping[str, Any], corrected: Corrected
    ) -> str | None:
        shape = self._shape(history, corrected.of)
        before = values[corrected.of]
        # A schema that finds fault with what the type has taken is no judge of what it takes.
        if shape is None or shape.fault(before) is not None:
            return None
        return shape.fault(changed(before, corrected.changes))

    def _shape(self, history: list[HistoryRow], of: str) -> Shape | None:
        """Return the registered type of the value, as of the run's own definition."""
        assert self._definitions is not None
        row = next((row for row in history if row.type == _ACCEPTED), None)
        if row is None:
            return None
        workflow, version = row.data["workflow"], row.data["version"]
        key = (workflow, version, of)
        if key not in self._shapes:
            schema = _schema(self._definitions.get((workflow, version)), of)
            self._shapes[key] = None if schema is None else Shape(schema)
        return self._shapes[key]


def _definitions(rows: Iterable[WorkflowRow]) -> dict[tuple[str, int], Mapping[str, Any] | None]:
    found: dict[tuple[str, int], Mapping[str, Any] | None] = {}
    for row in rows:
        key = (row.workflow, row.version)
        # Two definitions of one version: nobody knows which of them the run has.
        found[key] = None if key in found else row.spec
    return found


def _schema(spec: Mapping[str, Any] | None, name: str) -> Mapping[str, Any] | None:
    """Return what is registered of the value's type; steps within have none."""
    if spec is None:
        return None
    found: Any = None
    if name == TRIGGER:
        found = spec.get("trigger", {}).get("schema")
    elif name == spec.get("outcome_node"):
        found = spec.get("outcome_schema")
    else:
        nodes = {node.get("name"): node for node in spec.get("nodes", ())}
        found = nodes.get(name, {}).get("payload_schema")
    return found if isinstance(found, Mapping) else None
