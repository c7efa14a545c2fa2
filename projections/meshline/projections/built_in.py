"""The views that every installation has."""

from __future__ import annotations

from meshline.projections import (
    audit_view,
    directory_view,
    exception_view,
    handovers_view,
    history_view,
    ownership_view,
    runs_view,
    tasks_view,
    triggers_view,
    workflows_view,
)
from meshline.projections.projection import Projection

__all__ = ["BUILT_IN"]

BUILT_IN: tuple[Projection, ...] = (
    runs_view.projection,
    ownership_view.projection,
    exception_view.projection,
    history_view.projection,
    triggers_view.projection,
    tasks_view.projection,
    workflows_view.projection,
    directory_view.projection,
    audit_view.projection,
    handovers_view.projection,
)
