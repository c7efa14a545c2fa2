"""What a registered schema finds fault with, and what it must let pass since its type takes it."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from meshline.projections.shapes import fault_of


class Size(Enum):
    SMALL = "S"
    LARGE = "L"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Line(BaseModel):
    sku: str = Field(min_length=2, max_length=8)
    pieces: int = Field(ge=1, le=99)


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    customer: str
    lines: list[Line] = Field(default=[], max_length=2)
    weight: float = Field(default=1.0, gt=0, lt=50)
    length: float = 0.0
    gift: bool = False
    note: str | None = None
    size: Size = Size.SMALL
    level: Level = Level.LOW
    kind: Literal["web", "shop"] = "web"
    at: datetime | None = None
    within: timedelta | None = None
    price: Decimal | None = None
    tags: dict[str, int] = {}
    reply: Line | str = ""


ORDER = TypeAdapter(Order)
SCHEMA = ORDER.json_schema()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"customer": 7}, "customer: expected text"),
        ({"lines": {}}, "lines: expected a list"),
        ({"lines": [{"sku": "ab", "pieces": 1}] * 3}, "lines: expected at most 2 items"),
        ({"lines": [{"sku": "ab"}]}, "lines.0.pieces: it is missing"),
        ({"lines": [{"sku": "a", "pieces": 1}]}, "lines.0.sku: expected at least 2 characters"),
        ({"lines": [{"sku": "ab", "pieces": 0}]}, "lines.0.pieces: expected at least 1"),
        ({"lines": [{"sku": "ab", "pieces": 1.5}]}, "lines.0.pieces: expected a whole number"),
        ({"lines": ["ab"]}, "lines.0: expected an object"),
        ({"weight": 0}, "weight: expected more than 0"),
        ({"weight": 50}, "weight: expected less than 50"),
        ({"weight": "heavy"}, "weight: expected a number"),
        ({"gift": "perhaps"}, "gift: expected true or false"),
        ({"note": 1}, "note: expected text"),
        ({"size": "M"}, "size: expected one of 'S', 'L'"),
        ({"kind": "mail"}, "kind: expected one of 'web', 'shop'"),
        ({"tags": {"a": "b"}}, "tags.a: expected a whole number"),
        ({"reply": 1}, "reply: expected one of the kinds that it may be"),
        ({"colour": "red"}, "colour: there is no such field"),
    ],
)
def test_what_is_wrong_for_sure_is_told_with_its_place(change: Any, fault: str) -> None:
    value = {"customer": "Ada", **change}

    with pytest.raises(ValidationError):
        ORDER.validate_python(value)
    assert fault_of(SCHEMA, value) == fault


ANYTHING = [
    None, True, False, -1, 0, 1, 2, 99, 100, 7.0, 1.5, float("inf"), "", "a", "12", " 7 ", "1.5",
    "1e3", "1_000", ".5", "5.", "+1", "inf", "-Infinity", "nan", "yes", "S", "1", "web",
    "2026-11-17", "2026-11-17T14:05:00Z", "P1D", "10:00:00", [], [1], ["ab"], {}, {"a": "1"},
    {"a": None}, {"sku": "ab", "pieces": "3"}, [{"sku": "ab", "pieces": True}],
]  # fmt: skip


@pytest.mark.parametrize("name", Order.model_fields)
def test_what_the_type_takes_is_not_found_fault_with(name: str) -> None:
    for value in ANYTHING:
        order = {"customer": "Ada", name: value}
        if fault_of(SCHEMA, order) is not None:
            with pytest.raises(ValidationError):
                ORDER.validate_python(order)


def test_a_schema_that_speaks_of_itself_comes_to_an_end() -> None:
    schema = {"$defs": {"T": {"$ref": "#/$defs/T"}}, "$ref": "#/$defs/T"}

    assert fault_of(schema, {"left": {}}) is None
