"""The source files, and what can be read out of one without running it."""

from __future__ import annotations

import ast
import subprocess
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

__all__ = ["REPOSITORY", "ROOMS", "SourceFile", "parse", "room_files", "tracked_files"]

REPOSITORY = Path(__file__).resolve().parents[2]
ROOMS = ("events", "engine", "projections")


@dataclass(frozen=True)
class SourceFile:
    """One Python file: its path in the repository, its module name and its text."""

    path: str
    module: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @property
    def is_package(self) -> bool:
        return self.path.endswith("/__init__.py")

    @property
    def names(self) -> dict[str, str]:
        """What each imported name stands for: `{"now": "time.time"}` for `from time import time as
        now`."""
        names: dict[str, str] = {}
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    first = alias.name.partition(".")[0]
                    names[alias.asname or first] = alias.name if alias.asname else first
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    names[alias.asname or alias.name] = f"{self.origin(node)}.{alias.name}"
        return names

    def origin(self, node: ast.ImportFrom) -> str:
        """The absolute module that a `from … import` reads, also when it is written with dots."""
        if not node.level:
            return node.module or ""
        parts = self.module.split(".")
        package = parts if self.is_package else parts[:-1]
        base = package[: len(package) - node.level + 1]
        return ".".join([*base, *([node.module] if node.module else [])])

    def imports(self) -> list[tuple[int, str]]:
        """Line and full name of all that is imported, wherever the import stands."""
        found: list[tuple[int, str]] = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [(node.lineno, alias.name) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                origin = self.origin(node)
                found += [(node.lineno, f"{origin}.{alias.name}") for alias in node.names]
        return found

    def uses(self) -> list[tuple[int, str]]:
        """Line and full name of every imported thing that the code mentions, called or not."""
        names, found = self.names, []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Attribute | ast.Name):
                dotted = ast.unparse(node)
                first, _, rest = dotted.partition(".")
                if first in names:
                    found.append((node.lineno, ".".join(filter(None, [names[first], rest]))))
        return found


def parse(text: str, module: str = "meshline.sample") -> SourceFile:
    """A source file out of a string, for the tests of the rules themselves."""
    return SourceFile(module.replace(".", "/") + ".py", module, text)


@cache
def room_files() -> tuple[SourceFile, ...]:
    """Every Python file of the three rooms."""
    found = []
    for room in ROOMS:
        root = REPOSITORY / room
        for path in sorted((root / "meshline").rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found.append(
                SourceFile(path.relative_to(REPOSITORY).as_posix(), module, path.read_text("utf-8"))
            )
    return tuple(found)


@cache
def tracked_files() -> tuple[Path, ...]:
    """Every file that git tracks or would add, and that is still there."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = (REPOSITORY / name for name in listed.split("\0") if name)
    return tuple(path for path in paths if path.is_file() and not path.is_symlink())
