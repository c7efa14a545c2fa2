"""Forms out of JSON schemas, and values out of what a browser sends."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import BaseModel, Field

from meshline.console.form_fields import fields_of, value_of
from meshline.console.visit import FormRefused


class Terms(BaseModel):
    discount_percent: int = Field(ge=0, le=40, description="Off the list price.")
    rate: float = 1.5
    tier: Literal["gold", "silver"] = "gold"
    note: str = ""
    urgent: bool = False


def test_a_flat_model_has_a_field_for_each_of_its_own() -> None:
    fields = fields_of(Terms.model_json_schema())

    assert fields is not None
    assert [(f.name, f.kind, f.required) for f in fields] == [
        ("discount_percent", "integer", True),
        ("rate", "number", False),
        ("tier", "choice", False),
        ("note", "text", False),
        ("urgent", "boolean", False),
    ]
    assert (fields[0].least, fields[0].most) == (0, 40)


def test_what_was_filled_in_is_the_model_again() -> None:
    fields = fields_of(Terms.model_json_schema()) or []
    form = {"form.discount_percent": "10", "form.tier": "silver", "form.urgent": "on"}

    value = value_of(fields, form | {"form.note": "", "form.rate": ""})

    assert Terms.model_validate(value) == Terms(discount_percent=10, tier="silver", urgent=True)


def test_a_number_that_is_none_is_told() -> None:
    with pytest.raises(FormRefused, match="'ten': expected a number"):
        value_of(fields_of(Terms.model_json_schema()) or [], {"form.discount_percent": "ten"})


def test_a_nested_schema_is_filled_in_as_json() -> None:
    class Nested(BaseModel):
        lines: list[int]

    assert fields_of(Nested.model_json_schema()) is None
    assert fields_of(None) == []
    assert value_of([], {}) is None
