"""Loading an app, and loading it again."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshline.workflow import App, DefinitionRefused, load_app
from meshline.workflow.errors import AppNotLoaded

LEADS = """
from __future__ import annotations
from pydantic import BaseModel
from meshline.workflow import Workflow, Registry
from sizes import LIMIT

class Form(BaseModel):
    size: int

class Made(BaseModel):
    id: str

lead = Workflow("lead", version=1, trigger=Form, source="web", owner="team:a",
                exceptions="queue:a", outcome=Made)

@lead.step(when=lambda trigger: trigger.size > LIMIT)
def create(trigger: Form) -> Made: ...

both = [lead]
registry = Registry(lead)
number = 7
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "leads.py").write_text(LEADS)
    (tmp_path / "sizes.py").write_text("LIMIT = 500\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    # As it is where nobody forbids it.
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    "target", ["leads.py", "./leads.py", "leads", "leads:lead", "leads.py:both", "leads:registry"]
)
def test_an_app_is_a_file_a_module_or_something_in_it(folder: Path, target: str) -> None:
    registry = load_app(target)

    assert [spec.name for spec in registry] == ["lead"]


def test_an_app_may_be_in_a_package_and_anywhere(folder: Path) -> None:
    package = folder / "company"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "intake.py").write_text(LEADS)

    assert [spec.name for spec in load_app("company.intake")] == ["lead"]
    assert [spec.name for spec in load_app(str(folder / "leads.py"))] == ["lead"]


def message_of(target: str) -> str:
    with pytest.raises(AppNotLoaded) as refused:
        load_app(target)
    return str(refused.value)


def test_what_is_not_there_is_said_so(folder: Path) -> None:
    assert message_of("nowhere.py").startswith("ML4101 There is no file 'nowhere.py': expected an")
    assert message_of("nowhere").startswith("ML4101 There is no module 'nowhere' (nothing is calle")
    assert message_of("leads.more").startswith("ML4101 There is no module 'leads.more'")


def test_an_app_that_cannot_be_imported_shows_its_own_line(folder: Path) -> None:
    (folder / "sizes.py").write_text("# sizes\nLIMIT = 1 / 0\n")

    message = message_of("leads.py")

    assert "The app 'leads.py' cannot be imported: ZeroDivisionError: division by zero" in message
    assert "(at sizes.py:2: LIMIT = 1 / 0)" in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = (\n", "SyntaxError"),
        ("import nothing_of_this_name\n", "No module named 'nothing_of_this_name'"),
        ("raise SystemExit(3)\n", "SystemExit: 3 (at broken.py:1: raise SystemExit(3))"),
    ],
)
def test_whatever_stops_an_import_is_told(folder: Path, text: str, says: str) -> None:
    (folder / "broken.py").write_text(text)

    assert says in message_of("broken")
    assert says in message_of("broken.py")


def test_a_wrong_definition_keeps_its_code_and_gets_its_place(folder: Path) -> None:
    (folder / "leads.py").write_text(LEADS.replace('owner="team:a"', 'owner="me"'))

    with pytest.raises(DefinitionRefused) as refused:
        load_app("leads.py")

    assert refused.value.code == "ML4003"
    assert refused.value.__notes__[0].startswith("at leads.py:13: lead = Workflow(")


def test_an_app_holds_workflows(folder: Path) -> None:
    (folder / "empty.py").touch()

    assert "The app 'empty.py' holds no workflow: expected at least one" in message_of("empty.py")
    assert "names 'number', which is 7: expected a Workflow" in message_of("leads:number")
    assert "names 'nobody', which is None" in message_of("leads:nobody")


def test_an_app_is_loaded_again_with_what_it_imports(folder: Path) -> None:
    app = App("leads.py")
    first = app.load()
    assert [path.name for path in app.files] == ["leads.py", "sizes.py"]
    loaded = set(sys.modules)

    (folder / "sizes.py").write_text("LIMIT = 900\n")
    (folder / "leads.py").write_text(LEADS.replace('"lead"', '"leads"'))
    second = app.load()

    assert [spec.name for spec in second] == ["leads"]
    assert [spec.name for spec in first] == ["lead"]
    assert sys.modules["sizes"].LIMIT == 900
    assert set(sys.modules) == loaded


def test_an_app_that_changes_twice_in_a_second_is_what_it_is_now(folder: Path) -> None:
    app = App("leads.py")
    for version in ("1", "2"):
        (folder / "leads.py").write_text(LEADS.replace("version=1", f"version={version}"))
        (folder / "sizes.py").write_text(f"LIMIT = {version}00\n")
        for name in ("leads.py", "sizes.py"):
            os.utime(folder / name, (1_790_000_000, 1_790_000_000))

        (spec,) = app.load()

        assert (spec.version, sys.modules["sizes"].LIMIT) == (int(version), int(version) * 100)


def test_an_app_that_cannot_be_loaded_again_stays_as_it_was(folder: Path) -> None:
    app = App("leads")
    app.load()
    before = {name: sys.modules[name] for name in ("leads", "sizes")}
    (folder / "leads.py").write_text("import sizes\n1 / 0\n")

    with pytest.raises(AppNotLoaded):
        app.load()

    assert {name: sys.modules[name] for name in before} == before
    (folder / "leads.py").write_text(LEADS)
    assert len(app.load()) == 1


def test_the_libraries_that_an_app_imports_are_not_loaded_again(folder: Path) -> None:
    (folder / "sizes.py").write_text("import wave\nLIMIT = 1\n")
    app = App("leads.py")
    app.load()
    library = sys.modules["wave"]

    app.load()

    assert sys.modules["wave"] is library
    assert "wave.py" not in [path.name for path in app.files]
