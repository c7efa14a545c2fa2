"""What ``meshline dev`` runs: an app's workflows, and the views beside them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from meshline.cli.apps import module_of
from meshline.cli.own_views import known_projections
from meshline.cli.reloading import Stamps, stamp_of
from meshline.workflow.loading import App

if TYPE_CHECKING:
    from meshline.projections.projection import Projection
    from meshline.workflow.registry import Registry

__all__ = ["AppCode"]


class AppCode:
    """An app, and all projections that are known with it: built-in, named, and its own.

    ``load`` again imports the code of both afresh; if that fails, what was loaded before stays.
    ``stamps`` tell the files that were loaded, to be watched for changes.
    """

    def __init__(self, target: str) -> None:
        self._app = App(target)
        self._modules: dict[str, ModuleType] = {}
        self.projections: tuple[Projection, ...] = ()
        self.stamps: Stamps = {}

    def load(self) -> Registry:
        from meshline.projections.loading import beside, projections_in

        before = self._modules
        for name in before:
            sys.modules.pop(name, None)
        try:
            registry = self._app.load()
            own = projections_in(module_of(self._app.target))
            self.projections = beside(known_projections(), own)
        except BaseException:
            sys.modules.update(before)
            raise
        self._modules = self._modules_of_views()
        files = (getattr(module, "__file__", None) for module in self._modules.values())
        self.stamps = {
            file: stamp_of(file)
            for file in (Path(f).resolve() for f in (*self._app.files, *files) if f)
        }
        return registry

    def _modules_of_views(self) -> dict[str, ModuleType]:
        from meshline.projections.built_in import BUILT_IN
        from meshline.projections.code_hash import modules_of

        own = (projection for projection in self.projections if projection not in BUILT_IN)
        names = {name for projection in own for name in modules_of(projection)}
        return {name: sys.modules[name] for name in names if name in sys.modules}
