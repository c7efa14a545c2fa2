"""The folder of an embedded Meshline: for one process, and emptied only when nobody is there."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from meshline.cli.errors import CommandRefused, HomeInUse
from meshline.cli.home import alone, emptied


def test_a_second_process_is_told_who_is_there(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(HomeInUse, match="--home"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


def test_where_nobody_can_write_another_folder_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "home"

    with pytest.raises(CommandRefused, match=r"Not a directory.*--home"), alone(folder):
        pass


def test_an_old_database_is_gone_and_a_new_one_may_stand_there(tmp_path: Path) -> None:
    data = tmp_path / "postgres"
    (data / "data").mkdir(parents=True)

    with emptied(data):
        assert not data.exists()
        data.mkdir()

    assert [path.name for path in tmp_path.iterdir()] == ["postgres"]


def test_a_link_to_a_database_elsewhere_goes_with_it(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = tmp_path / "postgres"
    link.symlink_to(elsewhere)

    with emptied(link):
        pass

    assert list(tmp_path.iterdir()) == []


def test_a_database_that_somebody_reads_stays(tmp_path: Path) -> None:
    data = tmp_path / "postgres"
    data.mkdir()
    lock = os.open(data / "users.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_SH)
    try:
        with pytest.raises(HomeInUse, match="Another process reads"), emptied(data):
            pass
    finally:
        os.close(lock)

    assert data.exists()


def test_nothing_to_empty_is_no_problem(tmp_path: Path) -> None:
    with emptied(tmp_path / "postgres"):
        pass
