"""Where files stand, what they are called, how long they are, and what they say first."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.tidy.source import REPOSITORY, ROOMS, SourceFile, parse, room_files

LINES_MAX = 450
FORBIDDEN_NAMES = {"util", "utils", "helper", "helpers", "manager", "base", "common", "misc"}

# tests/<folder>/ mirrors a room or, where a room has many, one of its packages.
MIRRORED = {room: REPOSITORY / room / "meshline" for room in ROOMS} | {
    package.name: package
    for room in ROOMS
    for package in (REPOSITORY / room / "meshline").glob("*/")
    if package.name not in ROOMS and package.name != "__pycache__"
}


def lacks_all(file: SourceFile) -> bool:
    """A public package that holds or imports anything names what is public in `__all__`."""
    is_public = not any(part.startswith("_") for part in file.module.split("."))
    if not (file.is_package and is_public):
        return False
    names = {
        target.id
        for node in file.tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    has_content = any(
        not isinstance(node, ast.Expr)
        and not (isinstance(node, ast.ImportFrom) and node.module == "__future__")
        for node in file.tree.body
    )
    return has_content and "__all__" not in names


def mirrors(test: str, modules: set[str]) -> bool:
    """`test_reducer.py` mirrors `reducer.py`; so does `test_reducer_waits.py`, one topic of it."""
    name = test.removeprefix("test_")
    return any(name == module or name.startswith(f"{module}_") for module in modules)


def modules_under(folder: Path) -> set[str]:
    files = {path.stem for path in folder.rglob("*.py") if path.stem != "__init__"}
    return files | {path.parent.name for path in folder.rglob("__init__.py")}


def test_the_namespace_belongs_to_no_room() -> None:
    owners = [
        path.relative_to(REPOSITORY).as_posix()
        for room in ROOMS
        for path in (REPOSITORY / room / "__init__.py", REPOSITORY / room / "meshline/__init__.py")
        if path.exists()
    ]

    assert owners == [], "meshline is a PEP 420 namespace: remove these files"


def test_every_folder_with_modules_is_a_package() -> None:
    packages = {file.path.rpartition("/")[0] for file in room_files() if file.is_package}

    folders = {file.path.rpartition("/")[0] for file in room_files()}

    assert sorted(folders - packages) == [], "these folders have no __init__.py"


def test_every_package_tells_type_checkers_that_it_is_typed() -> None:
    packages = [file.path for file in room_files() if file.is_package]
    top = [Path(path).parent for path in packages if path.count("/") == 3]

    untyped = [f"{path}/py.typed" for path in top if not (REPOSITORY / path / "py.typed").exists()]

    assert untyped == [], "make these empty files"


def test_no_module_is_too_long_to_hold_in_mind() -> None:
    lengths = {file.path: file.text.count("\n") for file in room_files()}

    too_long = {path: lines for path, lines in lengths.items() if lines > LINES_MAX}

    assert too_long == {}, f"split by idea: more than {LINES_MAX} lines"


def test_no_module_has_a_name_that_says_nothing() -> None:
    files = [*room_files(), *(parse("", p.stem) for p in (REPOSITORY / "tests").rglob("*.py"))]

    nameless = [f.path for f in files if FORBIDDEN_NAMES & set(f.module.split("."))]

    assert nameless == [], "name the idea"


def test_every_module_says_what_it_is() -> None:
    silent = [file.path for file in room_files() if not ast.get_docstring(file.tree)]

    assert silent == [], "begin with a docstring"


def test_every_public_package_names_what_is_public() -> None:
    assert [file.path for file in room_files() if lacks_all(file)] == [], "write __all__"


def test_each_test_file_mirrors_a_module() -> None:
    orphans = [
        test.relative_to(REPOSITORY).as_posix()
        for folder, mirrored in MIRRORED.items()
        for test in (REPOSITORY / "tests" / folder).rglob("test_*.py")
        if not mirrors(test.stem, modules_under(mirrored))
    ]

    assert orphans == [], "name it after its module, or put it under tests/integration/ and so on"


def test_a_package_without_all_is_found() -> None:
    def package(text: str) -> SourceFile:
        return SourceFile("events/meshline/events/__init__.py", "meshline.events", text)

    assert lacks_all(package('"""Doc."""\nfrom meshline.events.ids import run_id\n'))
    assert not lacks_all(package('"""Doc."""\nfrom .ids import run_id\n__all__ = ["run_id"]\n'))
    assert not lacks_all(package('"""Doc, and no content."""\n'))


def test_a_test_file_mirrors_its_module_or_one_topic_of_it() -> None:
    assert mirrors("test_reducer", {"reducer"})
    assert mirrors("test_reducer_waits", {"reducer"})
    assert not mirrors("test_reduce", {"reducer"})
