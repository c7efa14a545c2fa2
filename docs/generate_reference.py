"""Write docs/reference: the commands from their own help, errors and violations from the code."""

from __future__ import annotations

import importlib
import os
import pkgutil
from pathlib import Path
from typing import Any

import typer.main

import meshline.api
import meshline.client
import meshline.console
import meshline.engine
import meshline.events
import meshline.projections
import meshline.workflow
from meshline.cli import errors as cli_errors  # noqa: F401  they are found as subclasses
from meshline.cli.exits import MEANINGS, exit_of
from meshline.cli.nouns import NOUNS
from meshline.engine import errors as engine_errors  # noqa: F401
from meshline.events.errors import MeshlineError
from meshline.events.violations import KINDS
from meshline.workflow.errors import CODES

PACKAGES = (
    meshline.events,
    meshline.workflow,
    meshline.engine,
    meshline.projections,
    meshline.api,
    meshline.console,
    meshline.client,
)
FOLDER = Path(__file__).parent / "reference"
WIDTH = 96

COMMANDS_HEAD = """\
# Commands

This page is made from the commands' own help by `python docs/generate_reference.py`; a test
compares it with them. Data goes to stdout in the form that `--output` says, words to stderr.

A run may be named by its id, by the beginning of its id as long as that is unique, or by its
trigger, as `SOURCE/ID`: `meshline run show web.forms/F-1`.

## Exit codes

| code | means |
|---|---|
"""

ERRORS_HEAD = """\
# Errors

Every error has a code, and says what happened, what was expected and what to do, with the value. A
refusal by a workflow is no error: it is a fact in the history, with a code of its own.

This page is made by `python docs/generate_reference.py`; a test compares it with the code.

| code | name | means | exit code |
|---|---|---|---|
"""

VIOLATIONS_HEAD = """\
# Violations

What `meshline verify` may say, by the [guarantee](../../GUARANTEES.md) that is broken. An error
should never be; a warning may be as it should, and only who operates the log can say.

This page is made by `python docs/generate_reference.py`; a test compares it with the code.

| guarantee | code | severity | means | do |
|---|---|---|---|---|
"""


def cli_page() -> str:
    """Return the page about all commands."""
    text = COMMANDS_HEAD
    text += "".join(f"| {int(code)} | {meaning} |\n" for code, meaning in MEANINGS.items())
    for noun in NOUNS.values():
        module = importlib.import_module(f"meshline.cli.{noun.module}")
        text += f"\n## meshline {noun.name}\n"
        command = typer.main.get_command(module.app)
        text += _page_of(command, f"meshline {noun.name}")
    return text


def _page_of(command: Any, name: str) -> str:
    commands = getattr(command, "commands", None)
    if not commands:
        return f"\n```text\n{_help_of(command, name)}\n```\n"
    text = ""
    for word, each in commands.items():
        text += f"\n### meshline {noun_of(name)} {word}\n" + _page_of(each, f"{name} {word}")
    return text


def noun_of(name: str) -> str:
    return name.removeprefix("meshline ")


def _help_of(command: Any, name: str) -> str:
    context = command.make_context(
        name, [], resilient_parsing=True, terminal_width=WIDTH, max_content_width=WIDTH
    )
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())


def errors_page() -> str:
    """Return the page about all errors."""
    rooms = (
        meshline.events,
        meshline.workflow,
        meshline.engine,
        meshline.projections,
        meshline.api,
        meshline.console,
    )
    for package in rooms:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    importlib.import_module("meshline.cli.embedded")
    rows = {error.code: (error.__name__, _first_line(error)) for error in _errors(MeshlineError)}
    rows |= {code: ("DefinitionRefused", f"a definition: {about}") for about, code in CODES.items()}
    rows.pop(MeshlineError.code, None)
    return ERRORS_HEAD + "".join(
        f"| {code} | `{name}` | {meaning} | {int(exit_of(code))} |\n"
        for code, (name, meaning) in sorted(rows.items())
    )


def violations_page() -> str:
    """Return the page about what the checker may find."""
    return VIOLATIONS_HEAD + "".join(
        f"| {kind.invariant} | `{code}` | {kind.severity} | {kind.means} | {kind.do} |\n"
        for code, kind in KINDS.items()
    )


def _errors(base: type[MeshlineError]) -> set[type[MeshlineError]]:
    found = {kind for kind in base.__subclasses__() if kind.__module__.startswith("meshline.")}
    return found.union(*(_errors(kind) for kind in found))


def _first_line(error: type[MeshlineError]) -> str:
    return (error.__doc__ or "").strip().splitlines()[0].replace("|", "\\|")


if __name__ == "__main__":
    os.environ["COLUMNS"] = str(WIDTH)
    pages = {"cli.md": cli_page, "errors.md": errors_page, "violations.md": violations_page}
    for page, text in ((page, make()) for page, make in pages.items()):
        (FOLDER / page).write_text(text, encoding="utf-8")
        print(f"Wrote {FOLDER / page}")
