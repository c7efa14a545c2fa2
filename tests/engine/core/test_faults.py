from __future__ import annotations

from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel, Field, TypeAdapter, model_validator

from meshline.engine.core.faults import UNSAID, faults_in
from meshline.workflow import Secret


def telling(value: str) -> str:
    raise ValueError(f"{value} is no account")


class Card(BaseModel):
    number: Annotated[str, Field(pattern="^[0-9]+$"), Secret()]
    month: Annotated[int, Field(le=12)] = 1


class Told(BaseModel):
    account: Annotated[str, AfterValidator(telling), Secret()]


class Whole(BaseModel):
    account: Annotated[str, Secret()]

    @model_validator(mode="after")
    def _tells(self) -> Whole:
        raise ValueError(f"{self.account} is no account")


class Broken(BaseModel):
    account: Annotated[str, Secret()]

    @model_validator(mode="after")
    def _breaks(self) -> Broken:
        raise KeyError(self.account)


def faults(kind: Any, value: Any) -> list[Any]:
    return faults_in(TypeAdapter(kind), value)


def test_what_is_wrong_with_a_field_is_said_beside_a_secret_one() -> None:
    assert faults(Card, {"number": "12", "month": 13}) == [
        (("month",), "Input should be less than or equal to 12")
    ]


def test_of_a_secret_field_it_is_said_only_where_it_is() -> None:
    assert faults(Card, {"number": "SE45"}) == [(("number",), UNSAID)]


def test_that_a_secret_field_is_missing_is_said() -> None:
    assert faults(Card, {}) == [(("number",), "Field required")]


def test_a_secret_of_one_of_several_kinds_is_known_under_the_names_that_pydantic_puts_in() -> None:
    found = faults(list[Card | int], [{"number": "SE45"}])

    assert ((0, "Card", "number"), UNSAID) in found


@pytest.mark.parametrize("kind", [Told, Whole, Broken])
def test_what_an_authors_validator_says_beside_secrets_is_left_out(kind: Any) -> None:
    [(_, words)] = faults(kind, {"account": "SE45"})

    assert "SE45" not in words
    assert UNSAID in words


def test_what_an_authors_validator_says_where_there_are_no_secrets_is_kept() -> None:
    class Open(BaseModel):
        account: Annotated[str, AfterValidator(telling)]

    assert faults(Open, {"account": "SE45"}) == [(("account",), "Value error, SE45 is no account")]
