"""Loading the module in which workflows are written, and loading it again when it has changed."""

from __future__ import annotations

import importlib
import importlib.util
import linecache
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from meshline.events.errors import MeshlineError
from meshline.events.own_code import nothing_kept
from meshline.workflow.define import Definition
from meshline.workflow.errors import AppNotLoaded
from meshline.workflow.registry import Registry
from meshline.workflow.spec import WorkflowSpec

__all__ = ["App", "load_app"]

_FORMS = '"leads.py", "company.leads" or "company.leads:registry"'
_PREFIX = "meshline_app_"
_PYTHON = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}


def load_app(target: str) -> Registry:
    """Return the workflows of an app.

    Args:
        target: ``path/to/file.py``, ``package.module``, or one of these with ``:attribute``, which
            is a workflow, several, or a registry.
    Raises:
        AppNotLoaded: there is no such module, it cannot be imported, or it holds no workflow.
        DefinitionRefused: one of its workflows is defined wrongly.
    """
    return App(target).load()


class App:
    """A module with workflows, and what it imported from beside it.

    ``load`` again imports all of that afresh; if it fails, what was loaded before stays as it was.
    """

    def __init__(self, target: str) -> None:
        path, _, attribute = target.rpartition(":") if _has_attribute(target) else (target, "", "")
        self.target = target
        self._attribute = attribute
        self._is_file = path.endswith(".py") or "/" in path or "\\" in path
        self._path = path
        self._modules: dict[str, ModuleType] = {}

    @property
    def files(self) -> tuple[Path, ...]:
        """The source files that were loaded, to be watched for changes."""
        files = (getattr(module, "__file__", None) for module in self._modules.values())
        return tuple(sorted({Path(file) for file in files if file}))

    def load(self) -> Registry:
        before = self._modules
        for name in before:
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        linecache.checkcache()
        others = set(sys.modules)
        try:
            with self._explained():
                with nothing_kept():
                    module = self._import()
                found = self._workflows(module)
                registry = Registry(*found)
        except BaseException:
            for name in self._own(others):
                del sys.modules[name]
            sys.modules.update(before)
            raise
        self._modules = self._own(others)
        return registry

    # -- importing -----------------------------------------------------------------------------

    @property
    def _root(self) -> Path:
        """The folder from which the app imports its own modules."""
        if self._is_file:
            return Path(self._path).resolve().parent
        spec = importlib.util.find_spec(self._path.partition(".")[0])
        origin = spec.origin if spec and spec.origin else None
        folders = list(spec.submodule_search_locations or ()) if spec else []
        if folders:
            return Path(folders[0]).resolve().parent
        return Path(origin).resolve().parent if origin else Path.cwd()

    def _import(self) -> ModuleType:
        if self._is_file:
            return self._import_file(Path(self._path))
        _import_from(Path.cwd())
        try:
            return importlib.import_module(self._path)
        except ModuleNotFoundError as error:
            if error.name and f"{self._path}.".startswith(f"{error.name}."):
                raise AppNotLoaded(
                    f"There is no module {self._path!r} (nothing is called {error.name!r}): "
                    f"expected an app such as {_FORMS}. Check the name, and from which folder "
                    "it is imported."
                ) from None
            raise

    def _import_file(self, path: Path) -> ModuleType:
        if not path.is_file():
            raise AppNotLoaded(
                f"There is no file {str(path)!r}: expected an app such as {_FORMS}. "
                "Check the path; it counts from the current folder."
            )
        name = _PREFIX + path.stem
        spec = importlib.util.spec_from_file_location(name, path.resolve())
        if spec is None or spec.loader is None:
            raise AppNotLoaded(
                f"The file {str(path)!r} is no Python: expected an app such as {_FORMS}."
            )
        module = importlib.util.module_from_spec(spec)
        # Before it runs: dataclasses and pydantic look their module up by name.
        sys.modules[name] = module
        _import_from(self._root)
        spec.loader.exec_module(module)
        return module

    def _own(self, others: set[str]) -> dict[str, ModuleType]:
        """The modules that this load added and that lie beside the app."""
        added = {name: module for name, module in sys.modules.items() if name not in others}
        if not added:
            return {}
        root = self._root
        return {name: module for name, module in added.items() if _lies_in(module, root)}

    # -- collecting ----------------------------------------------------------------------------

    def _workflows(self, module: ModuleType) -> list[WorkflowSpec]:
        if self._attribute:
            return self._of_attribute(module)
        found = [value.spec for value in vars(module).values() if isinstance(value, Definition)]
        if not found:
            raise AppNotLoaded(
                f"The app {self.target!r} holds no workflow: expected at least one at the top of "
                f'the module. Write there:\n\n    lead = Workflow("lead-intake", version=1, …)\n'
            )
        return found

    def _of_attribute(self, module: ModuleType) -> list[WorkflowSpec]:
        value: Any = getattr(module, self._attribute, None)
        items = list(value) if isinstance(value, Registry | list | tuple | set) else [value]
        wrong = [item for item in items if not isinstance(item, Definition | WorkflowSpec)]
        if wrong or not items:
            raise AppNotLoaded(
                f"The app {self.target!r} names {self._attribute!r}, which is {value!r}: expected "
                "a Workflow, several in a list, or a Registry. Name one, or leave out "
                f"':{self._attribute}' to take all workflows of the module."
            )
        return [item.spec if isinstance(item, Definition) else item for item in items]

    # -- explaining ----------------------------------------------------------------------------

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Tell the author's line: the machinery of importing is not what is wrong."""
        try:
            yield
        except AppNotLoaded:
            raise
        except MeshlineError as error:
            if place := self._place(error):
                error.add_note(f"at {place}")
            raise
        except (Exception, SystemExit) as error:
            raise AppNotLoaded(
                f"The app {self.target!r} cannot be imported: {type(error).__name__}: "
                f"{error} (at {self._place(error) or 'a place outside of it'}). "
                "Expected a module that can be imported without side effects. Mend that line."
            ) from error

    def _place(self, error: BaseException) -> str:
        if isinstance(error, SyntaxError) and error.filename:
            return f"{_short(error.filename)}:{error.lineno}: {(error.text or '').strip()}"
        root = self._root
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if _is_inside(frame.filename, root)]
        return f"{_short(own[-1].filename)}:{own[-1].lineno}: {own[-1].line}" if own else ""


def _has_attribute(target: str) -> bool:
    """``C:\\leads.py`` has a colon too; what follows one is an attribute if it is a name."""
    _, colon, last = target.rpartition(":")
    return bool(colon) and last.isidentifier()


def _lies_in(module: ModuleType, root: Path) -> bool:
    if module.__name__.partition(".")[0] == "meshline":
        return False
    file: str | None = getattr(module, "__file__", None)
    if file is None:  # a namespace package: its folders say where it is
        return any(_is_inside(folder, root) for folder in getattr(module, "__path__", ()))
    return _is_inside(file, root)


def _is_inside(file: str, root: Path) -> bool:
    path = Path(file)
    foreign = "site-packages" in path.parts or any(path.is_relative_to(lib) for lib in _PYTHON)
    return path.is_relative_to(root) and not foreign


def _short(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _import_from(folder: Path) -> None:
    """Let the app import from its folder, now and later: steps may import when they are called."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
