"""What a registered schema finds wrong is told with its place, and without the value."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from meshline.projections.shapes import Shape


class Line(BaseModel):
    sku: str = Field(min_length=2, pattern="^[A-Z]+$")
    pieces: int = Field(ge=1)


class Order(BaseModel):
    customer: str
    lines: list[Line] = []
    note: str | None = None
    tags: dict[str, int] = {}
    more: Open | None = None


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")

    size: int = 0


SHAPE = Shape(TypeAdapter(Order).json_schema())


@pytest.mark.parametrize(
    ("order", "fault"),
    [
        ({"customer": "s3cret", "tags": {"any": 1}, "more": {"any": 1}, "lines": []}, None),
        ({"customer": "s3cret", "custmer": "s3cret"}, "value: it has no field custmer"),
        (
            {"customer": "Ada", "lines": [{"sku": "AB", "pieces": 1, "pices": 2}]},
            "lines.0: it has no field pices",
        ),
        ({"customer": 7}, 'customer: it is not of type "string"'),
        ({}, 'value: "customer" is a required property'),
        ("s3cret", 'value: it is not of type "object"'),
        (
            {"customer": "Ada", "lines": [{"sku": "AB", "pieces": 0}]},
            "lines.0.pieces: it is less than the minimum of 1",
        ),
        (
            {"customer": "Ada", "lines": [{"sku": "s3cret", "pieces": 1}]},
            'lines.0.sku: it does not match "^[A-Z]+$"',
        ),
        ({"customer": "Ada", "note": ["s3cret"]}, "note: it is none of the kinds that it may be"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_without_the_value(
    order: Any, fault: str | None
) -> None:
    assert SHAPE.fault(order) == fault


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "no such type"},
        {"$ref": "http://127.0.0.1:9/schema"},
        {"$ref": "file:///etc/hostname"},
        {"pattern": r"(?=a)b"},
    ],
)
def test_a_schema_that_can_not_be_used_is_no_judge(schema: dict[str, Any]) -> None:
    assert Shape(schema).fault("anything") is None
