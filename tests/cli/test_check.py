"""``meshline check``: what it says, and how it ends in a build."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

from meshline.cli.exits import Exit
from meshline.cli.main import run

Captured = pytest.CaptureFixture[str]

GOOD = '''
from pydantic import BaseModel
from meshline.workflow import Workflow

class Ordered(BaseModel):
    number: int

class Shipped(BaseModel):
    parcel: str

order = Workflow(
    "order", version=3, trigger=Ordered, source="shop", owner="team:sales",
    exceptions="queue:sales", outcome=Shipped, {due}
)

@order.step(timeout="5s")
async def ship(trigger: Ordered) -> Shipped:
    """Ship it."""
    return Shipped(parcel="1")
'''


@pytest.fixture
def app(tmp_path: Path) -> Path:
    path = tmp_path / "orders.py"
    path.write_text(GOOD.replace("{due}", 'due="2d"'), "utf-8")
    return path


def test_the_five_answers_are_given(app: Path, capsys: Captured) -> None:
    code = run(["check", str(app)])

    text, words = capsys.readouterr()
    assert code == Exit.OK
    for answer in ("Ordered", "shop", "team:sales", "queue:sales", "Shipped, given by ship"):
        assert answer in text
    assert "Nothing found" in words


def test_programs_get_answers_and_findings(app: Path, capsys: Captured) -> None:
    run(["check", str(app), "--output", "json"])

    found = orjson.loads(capsys.readouterr().out)
    assert found["workflows"][0]["exception_route"] == "queue:sales"
    assert found["findings"] == []


def test_a_warning_fails_only_where_it_should(app: Path, capsys: Captured) -> None:
    app.write_text(GOOD.replace("{due}", ""), "utf-8")

    assert run(["check", str(app)]) == Exit.OK
    assert "warning  no_due" in capsys.readouterr().err
    assert run(["check", str(app), "--strict"]) == Exit.FAILED


def test_a_wrong_definition_fails_with_its_code_and_its_line(app: Path, capsys: Captured) -> None:
    app.write_text(GOOD.replace("{due}", "").replace('owner="team:sales"', 'owner="sales"'))

    code = run(["check", str(app), "--output", "json"])

    text, words = capsys.readouterr()
    assert code == Exit.FAILED
    assert orjson.loads(text)["findings"][0]["code"] == "ML4003"
    assert "orders.py:" in words


def test_an_app_that_is_not_there_is_a_mistake_of_usage(capsys: Captured) -> None:
    assert run(["check", "nowhere.py"]) == Exit.USAGE
    assert "ML4101" in capsys.readouterr().err
