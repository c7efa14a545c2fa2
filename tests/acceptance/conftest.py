"""Where the acceptance tests take place: each log that keeps anything, with views in PostgreSQL."""

from __future__ import annotations

import uuid

import pytest

from tests.acceptance.support.places import Place

pytest.register_assert_rewrite("tests.acceptance.support.verdict")


@pytest.fixture(
    params=[
        pytest.param("postgres", marks=pytest.mark.postgres),
        pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.postgres]),
    ]
)
def place(request: pytest.FixtureRequest, postgres_dsn: str) -> Place:
    """A log and views that are not there yet."""
    name = f"t{uuid.uuid4().hex[:10]}"
    mark = "&" if "?" in postgres_dsn else "?"
    views = f"{postgres_dsn}{mark}meshline_namespace={name}"
    if request.param == "postgres":
        return Place("postgres", views, views)
    return Place("kafka", f"kafka://{request.getfixturevalue('kafka_servers')}/{name}", views)
