"""Which projections the commands know: the built-in ones, and those of one's own."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshline.projections.projection import Projection

__all__ = ["VARIABLE", "known_projections"]

VARIABLE = "MESHLINE_PROJECTIONS"
"""Modules with projections, with commas between; for all commands that need a view's code."""


def known_projections(modules: Sequence[str] | None = None) -> tuple[Projection, ...]:
    """Return the built-in projections and those of the modules.

    Args:
        modules: as ``--projections`` named them; else those of the environment.
    Raises:
        ProjectionInvalid: a module can't be imported or declares none, or names clash.
    """
    from meshline.projections.loading import load_projections

    named = modules or [m.strip() for m in os.environ.get(VARIABLE, "").split(",") if m.strip()]
    here = str(Path.cwd())
    if named and here not in sys.path:
        # As `python -m` does: modules of this folder are found.
        sys.path.insert(0, here)
    return load_projections(named)
