"""Tables of the built-in views, row by row as they stand there, without what payloads hold.

Which definition a row is of is not looked up: where any has secrets, payloads are hidden whole.
What a view of one's own takes out of payloads is its own affair.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from meshline.events.secrets import MASK
from meshline.projections.diff import RowDiff, ViewDiff
from meshline.projections.masking import UNKNOWN, Definitions, masked_row

__all__ = ["PAYLOAD_COLUMNS", "masked_columns", "masked_diff"]

PAYLOAD_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "runs": ("outcome",),
    "history": ("data",),
    "triggers": ("payload", "unreadable"),
    "tasks": ("form",),
}
"""By table, the columns that hold what came from the outside; errors are no payloads."""


def masked_columns(table: str, row: Mapping[str, Any], definitions: Definitions) -> dict[str, Any]:
    """Return a row of the table with the mask in place of its payloads."""
    hidden = PAYLOAD_COLUMNS.get(table, ()) if definitions.have_secrets else ()
    return {
        name: MASK if name in hidden and value is not None else value for name, value in row.items()
    }


def masked_diff(found: ViewDiff, definitions: Definitions) -> ViewDiff:
    """Return the comparison with its samples and their events so."""
    if not definitions.have_secrets:
        return found
    return replace(
        found,
        tables=[
            replace(
                table, samples=[_masked(table.table, each, definitions) for each in table.samples]
            )
            for table in found.tables
        ],
    )


def _masked(table: str, sample: RowDiff, definitions: Definitions) -> RowDiff:
    return replace(
        sample,
        old=None if sample.old is None else masked_columns(table, sample.old, definitions),
        new=None if sample.new is None else masked_columns(table, sample.new, definitions),
        events=sample.events and [masked_row(event, UNKNOWN) for event in sample.events],
    )
