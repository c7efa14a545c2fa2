"""Every block of Python in the guides runs, and every block of JSON is JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.tidy.source import REPOSITORY

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

DOCUMENTS = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in [REPOSITORY / "README.md", *REPOSITORY.glob("*/README.md")]
    if path.exists()
)


def blocks(text: str, language: str) -> list[tuple[int, str]]:
    """The blocks of a document with the line each begins at."""
    return [
        (text.count("\n", 0, match.start(2)), match[2])
        for match in BLOCK.finditer(text)
        if match[1] == language
    ]


def run(text: str, name: str) -> None:
    """Run the Python blocks of a document, one after the other, in one namespace."""
    namespace: dict[str, object] = {"__name__": "document"}
    for lines_before, code in blocks(text, "python"):
        # Empty lines before it: an error then shows the document's own line.
        exec(compile("\n" * lines_before + code, name, "exec"), namespace)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_python_in_a_document_runs(
    document: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    run((REPOSITORY / document).read_text("utf-8"), document)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_json_in_a_document_is_json(document: str) -> None:
    for _, text in blocks((REPOSITORY / document).read_text("utf-8"), "json"):
        json.loads(text)


def test_a_block_sees_those_before_it_and_a_wrong_one_fails_at_its_line() -> None:
    text = "# A\n\n```python\na = 1\n```\n\n```sh\nb\n```\n\n```python\nassert a == 2\n```\n"

    with pytest.raises(AssertionError) as error:
        run(text, "guide.md")

    assert (error.traceback[-1].path, error.traceback[-1].lineno + 1) == ("guide.md", 12)
