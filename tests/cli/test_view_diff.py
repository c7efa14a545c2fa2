"""What ``view diff`` prints, how it ends, and the report that it writes."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from meshline.cli.output import Form
from meshline.cli.view_diff import diff, diff_lines, percent, value_text
from meshline.cli.view_diff_html import page
from meshline.projections.diff import RowDiff, Side, TableDiff, ViewDiff, as_data
from meshline.projections.history_view import HistoryRow
from tests.cli.doubles import NOW, FakeViews, TestedCall

OLD = Side(1, "live", "old", {}, {0: 120, 1: 98}, 0)
NEW = Side(2, "building", "new", {}, {0: 120, 1: 98}, 3)
HANDED = HistoryRow(
    "r1", 0, 7, "meshline.owner.assigned.v1", "e7", datetime(2026, 5, 4, 9, 30, tzinfo=UTC), NOW,
    "rule", "route", None, 0, 7,
    {"owner": "team:emea", "previous": "team:<b>revops</b>", "reason": "by country"},
)  # fmt: skip


def found(*samples: RowDiff, **more: Any) -> ViewDiff:
    table = TableDiff("ownership", 1_000, 1_002, 2, 0, 40, {"owner": 40}, ["rank"], [], samples)
    return ViewDiff("ownership", OLD, NEW, [table], more.get("added", []), [])


CHANGED = RowDiff(
    "changed", {"run_id": "r1"}, ["owner"], 40, {"run_id": "r1", "owner": "team:G97"},
    {"run_id": "r1", "owner": "<script>alert(1)</script>"}, "r1", [HANDED],
)  # fmt: skip
ADDED = RowDiff(
    "added", {"run_id": "r2"}, [], 2, None,
    {"run_id": "r2", "owner": None, "since": "2026-05-04T09:30:00+00:00", "waits": [1]}, "r2", [],
)  # fmt: skip


def test_people_read_numbers_columns_and_samples_with_their_events() -> None:
    text = "\n".join(diff_lines(found(CHANGED, ADDED)))

    assert "v1 (live) and v2 (building), both at 0:120, 1:98" in text
    assert "3 events are parked in v2 (building)" in text
    assert "2 added, 0 removed, 40 changed (4.19%)" in text
    assert "changed: owner in 40" in text
    assert "new columns, not compared: rank" in text
    assert "changed  run_id r1  (1 of 40 like it)" in text
    assert "team:G97 → <script>" in text
    assert "0:7  2026-05-04 09:30:00" in text
    assert "since          2026-05-04 09:30:00" in text
    assert "owner          –" in text


def test_a_small_share_is_not_told_as_none() -> None:
    assert [percent(s) for s in (0.0, 0.25, 0.000001)] == ["0.00%", "25.00%", "0.000100%"]
    assert value_text("x" * 300) == "x" * 200 + "…"
    assert value_text("2026-not a time at all") == "2026-not a time at all"


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag != "meta":
            self.open.append(tag)
        assert not {name for name, _ in attrs} & {"src", "href", "onclick"}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_needs_nothing_else_and_nothing_of_the_log_is_markup() -> None:
    html = page(found(CHANGED, ADDED), NOW)
    reader = Reader()
    reader.feed(html)

    assert reader.open == []
    assert not {"script", "link", "img", "b-revops"} & {*reader.tags}
    assert "<script>alert(1)</script>" in reader.text
    assert "team:<b>revops</b>" in reader.text or "team:emea" in reader.text
    assert "prefers-color-scheme: dark" in html and "http" not in html
    assert "1 of 40 like it" in reader.text


async def run(
    monkeypatch: pytest.MonkeyPatch, result: ViewDiff, **options: Any
) -> tuple[int, TestedCall]:
    async def compared(*_: Any, **__: Any) -> ViewDiff:
        return result

    monkeypatch.setattr("meshline.projections.diff.diff_view", compared)
    call = TestedCall(options.pop("form", Form.text), views=FakeViews())
    call.__dict__["place"] = SimpleNamespace(views="postgresql://x", close=lambda: None)
    try:
        await diff(call, "ownership", **options)
    except typer.Exit as end:
        return end.exit_code, call
    return 0, call


@pytest.mark.parametrize(
    ("limit", "code"), [("5%", 0), ("4.1%", 1), ("42", 0), ("41", 1), ("0.1%", 1), (None, 0)]
)
async def test_the_gate_is_a_share_or_a_count(
    monkeypatch: pytest.MonkeyPatch, limit: str | None, code: int
) -> None:
    ended, call = await run(monkeypatch, found(CHANGED), max_changed=limit)

    assert ended == code
    assert ("differs: ownership, 42 rows (4.19%)" in call.words) == bool(code)


async def test_a_table_on_one_side_does_not_pass_the_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    ended, call = await run(monkeypatch, found(added=["ranks"]), max_changed="50%")

    assert ended == 1 and "ranks" in call.words


async def test_programs_get_one_object_and_a_report_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "diff.html"
    _, call = await run(monkeypatch, found(CHANGED), form=Form.jsonl, html=file)

    (value,) = call.values
    assert value["old"]["positions"] == {"0": 120, "1": 98} and "layout" not in value["old"]
    assert value["tables"][0]["samples"][0]["events"][0]["log_offset"] == 7
    assert value["equal"] is as_data(found(CHANGED))["equal"] is False
    assert file.read_text("utf-8").startswith("<!doctype html>")


async def test_what_is_no_limit_is_a_mistake_of_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(typer.BadParameter, match="is no limit"):
        await run(monkeypatch, found(), max_changed="a lot")
