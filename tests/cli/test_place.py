"""Where the log and the views are: flags before environment before what a folder remembers."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from meshline.cli.errors import CommandRefused, NoLogHere
from meshline.cli.place import DEMO, EMBEDDED, HOME, Given, Place, Runtime, find_place, shown


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def given(
    log: str | None = None, views: str | None = None, home: Path | None = None, **names: str
) -> Given:
    return Given.read(log, views, home, names)


def test_what_is_typed_comes_before_the_environment() -> None:
    place = find_place(given(log="memory://typed", MESHLINE_LOG="memory://environment"))

    assert (place.log, place.origin) == ("memory://typed", "--log")


def test_the_environment_comes_before_what_the_folder_remembers() -> None:
    Runtime("memory://remembered", "postgresql://remembered").write(HOME)

    place = find_place(given(MESHLINE_LOG="memory://environment"))

    assert (place.log, place.origin) == ("memory://environment", "MESHLINE_LOG")


def test_the_folder_remembers_both_addresses() -> None:
    Runtime("memory://remembered", "postgresql://remembered").write(HOME)

    place = find_place(given())

    assert (place.log, place.views) == ("memory://remembered", "postgresql://remembered")


def test_remembered_views_are_not_taken_for_those_of_another_log() -> None:
    Runtime("memory://remembered", "postgresql://remembered").write(HOME)

    place = find_place(given(log="memory://other"))

    with pytest.raises(NoLogHere):
        _ = place.views


def test_a_log_in_postgresql_has_its_views_beside_it() -> None:
    place = find_place(given(log="postgresql://db/meshline"))

    assert place.views == "postgresql://db/meshline"


def test_views_may_be_elsewhere() -> None:
    place = find_place(given(log="postgresql://db/meshline", MESHLINE_VIEWS="postgresql://views"))

    assert place.views == "postgresql://views"


def test_without_anything_it_says_what_to_do() -> None:
    place = find_place(given())

    with pytest.raises(NoLogHere, match="meshline dev"):
        _ = place.log


def test_after_the_demo_its_folder_is_found() -> None:
    Runtime("memory://demo", "postgresql://demo").write(HOME / DEMO)

    assert find_place(given()).home == HOME / DEMO


def test_the_demo_does_not_hide_what_dev_made() -> None:
    Runtime("memory://demo", "postgresql://demo").write(HOME / DEMO)
    Runtime("memory://dev", "postgresql://dev").write(HOME)

    assert find_place(given()).log == "memory://dev"


def test_another_folder_can_be_named(tmp_path: Path) -> None:
    Runtime("memory://there", "postgresql://there").write(tmp_path / "there")

    assert find_place(given(home=tmp_path / "there")).log == "memory://there"
    assert find_place(given(MESHLINE_HOME=str(tmp_path / "there"))).log == "memory://there"


def test_a_folder_with_only_its_database_is_understood() -> None:
    (HOME / "postgres").mkdir(parents=True)

    place = find_place(given())

    assert (place.named_log, place.is_embedded) == (EMBEDDED, True)


def test_what_a_folder_remembers_is_for_its_user_only() -> None:
    Runtime("postgresql://u:secret@db", "postgresql://u:secret@db", "app.py", 7).write(HOME)

    file = HOME / "runtime.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Runtime.read(HOME) == Runtime(
        "postgresql://u:secret@db", "postgresql://u:secret@db", "app.py", 7
    )
    assert [path.name for path in HOME.iterdir()] == ["runtime.json"]


def test_a_spoilt_memory_is_told() -> None:
    HOME.mkdir()
    (HOME / "runtime.json").write_text("{")

    with pytest.raises(CommandRefused, match="Remove the file"):
        find_place(given())


def test_a_password_is_never_shown() -> None:
    assert shown("postgresql://ada:secret@db:5432/x?a=b") == "postgresql://ada:***@db:5432/x?a=b"
    assert shown("kafka://broker:9092/dev") == "kafka://broker:9092/dev"


def test_a_place_that_was_never_used_closes_without_a_server() -> None:
    Place(HOME, EMBEDDED, EMBEDDED, "test").close()

    assert not HOME.exists()
