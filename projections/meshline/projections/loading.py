"""Projections of one's own: found in modules, and put beside the built-in ones."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

from meshline.events.own_code import nothing_kept
from meshline.projections.built_in import BUILT_IN
from meshline.projections.code_hash import code_hash_of
from meshline.projections.errors import ProjectionInvalid
from meshline.projections.projection import Projection

__all__ = ["beside", "beside_built_in", "load_projections", "projections_in"]


def load_projections(modules: Sequence[str]) -> tuple[Projection, ...]:
    """Return the built-in projections, and those of the modules ``package.module``.

    Raises:
        ProjectionInvalid: a module can't be imported or declares none, or names clash.
    """
    own: list[Projection] = []
    for name in modules:
        found = projections_in(_imported(name))
        if not found:
            raise ProjectionInvalid(
                f"The module {name!r} declares no projection: expected Projection(…) under a name "
                "of the module. Declare one there, or name another module."
            )
        own += found
    return beside_built_in(own)


def _imported(name: str) -> ModuleType:
    try:
        with nothing_kept():
            return importlib.import_module(name)
    except ProjectionInvalid:
        raise
    except Exception as error:
        raise ProjectionInvalid(
            f"Cannot import {name!r}: {type(error).__name__}: {error}{_place(error)}. Expected a "
            "module with projections, such as company.views, that Python finds. Correct it or its "
            "name, or install its package."
        ) from error


def _place(error: Exception) -> str:
    """Return where in somebody's code it arose; what can't be read at all says so itself."""
    frames = traceback.extract_tb(error.__traceback__)
    machinery = (__file__, importlib.__file__)
    own = [f for f in frames if f.filename not in machinery and not f.filename.startswith("<")]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""


def projections_in(module: ModuleType) -> list[Projection]:
    """Return the projections that a module holds under names of its own, each once."""
    found = [value for value in vars(module).values() if isinstance(value, Projection)]
    own = list(dict.fromkeys(projection for projection in found if projection not in BUILT_IN))
    for projection in own:
        if not projection.tables:
            raise ProjectionInvalid(
                f"The projection {projection.name!r} has no table: expected one at least. Declare "
                'it: projection.table("…", Row, key=["…"]).'
            )
        # Now, while the files still say what was imported.
        code_hash_of(projection)
    return own


def beside_built_in(own: Iterable[Projection]) -> tuple[Projection, ...]:
    """Return the built-in projections and these; see ``beside``."""
    return beside(BUILT_IN, own)


def beside(known: Iterable[Projection], own: Iterable[Projection]) -> tuple[Projection, ...]:
    """Return both, each once.

    Raises:
        ProjectionInvalid: two have the same name, or tables or queries of the same name: all of
            them share the names that people query.
    """
    everything = [*dict.fromkeys((*known, *own))]
    views: dict[str, Projection] = {}
    relations: dict[str, Projection] = {}
    for projection in everything:
        _take(views, projection.name, projection, "view")
        for name in (*(table.name for table in projection.tables), *projection.queries):
            _take(relations, name, projection, "table or query")
    return tuple(everything)


def _take(taken: dict[str, Projection], name: str, projection: Projection, what: str) -> None:
    other = taken.setdefault(name, projection)
    if other is not projection:
        raise ProjectionInvalid(
            f"The {what} {name!r} is declared by {other!r} and by {projection!r}: expected each "
            "name once, also among the built-in ones. Rename yours."
        )
