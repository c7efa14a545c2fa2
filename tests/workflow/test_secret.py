from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import pydantic
import pytest
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    Json,
    SecretBytes,
    SecretStr,
    TypeAdapter,
)

from meshline.workflow import DefinitionRefused, Secret, Workflow
from meshline.workflow.secret import check_secrets, pointers_of, secrets_in


class Card(BaseModel):
    kind: Literal["card"] = "card"
    number: Annotated[str, Secret()]


class Cash(BaseModel):
    kind: Literal["cash"] = "cash"


class Tree(BaseModel):
    pin: Annotated[int, Secret()]
    children: list[Tree] = []


class Aliased(BaseModel):
    account: Annotated[str, Secret()] = Field(alias="accountNumber")


class Unwritable(BaseModel):
    account: Annotated[str, Secret()]
    rule: Callable[[int], int] | None = None


class ByWord(BaseModel):
    account: str = Field(json_schema_extra={"writeOnly": True})


@pytest.mark.parametrize(
    ("kind", "pointers"),
    [
        (Card, ["/number"]),
        (list[Card], ["/*/number"]),
        (dict[str, list[Card]], ["/*/*/number"]),
        (Card | Cash | None, ["/number"]),
        (Annotated[Card | Cash, Field(discriminator="kind")], ["/number"]),
        (Annotated[Card, Secret()], [""]),
        (Annotated[str | None, Secret()], [""]),
        (tuple[int, Annotated[str, Secret()]], ["/*"]),
        (Tree, ["/children/*", "/pin"]),
        (Aliased, ["/account", "/accountNumber"]),
        (Json[Card], ["", "/number"]),
        (Unwritable, ["/account"]),
        (ByWord, ["/account"]),
        (Annotated[SecretStr, Secret()], [""]),
        (Cash, []),
        (Any, []),
    ],
)  # fmt: skip
def test_secrets_are_found_wherever_they_are_in_a_type(kind: Any, pointers: list[str]) -> None:
    assert pointers_of(secrets_in(TypeAdapter(kind))) == pointers


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        (Annotated[str, Secret()], b'"SE45"'),
        (Annotated[SecretStr, Secret()], b'"SE45"'),
        (Annotated[SecretBytes, Secret()], b'"SE45"'),
        (Annotated[SecretStr | None, Secret()], b"null"),
        (Annotated[list[SecretStr], Secret()], b'["SE45"]'),
        (Annotated[pydantic.Secret[int], Secret()], b"45"),
    ],
)
def test_a_marked_secret_is_written_with_its_true_value(kind: Any, written: bytes) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)

    check_secrets(adapter, "it")

    assert adapter.dump_json(adapter.validate_json(written)) == written


def test_a_secret_of_pydantic_does_not_show_in_what_a_step_prints() -> None:
    value = TypeAdapter(Annotated[SecretStr, Secret()]).validate_python("SE45")

    assert "SE45" not in f"{value} {value!r}"


class Stars(BaseModel):
    account: SecretStr


@pytest.mark.parametrize(
    "kind",
    [SecretStr, SecretBytes, pydantic.Secret[int], list[SecretStr], SecretStr | None, Stars,
     Annotated[Stars, Secret()]],
)  # fmt: skip
def test_a_type_that_would_be_written_as_stars_is_refused(kind: Any) -> None:
    with pytest.raises(DefinitionRefused, match=r"written as stars.*Annotated") as refused:
        check_secrets(TypeAdapter(kind), "the trigger")

    assert refused.value.code == "ML4021"


class Named(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    account: Annotated[str, Secret()] = Field(validation_alias=AliasChoices("account", "iban"))


def test_a_secret_that_may_come_under_several_names_is_refused() -> None:
    with pytest.raises(DefinitionRefused, match="one name for each field") as refused:
        check_secrets(TypeAdapter(Named), "the trigger")

    assert refused.value.code == "ML4021"


class Signed(BaseModel):
    by: Annotated[str, Secret()]


def _workflow(trigger: type[BaseModel]) -> Workflow:
    loan = Workflow(
        "loan", version=1, trigger=trigger, source="web", owner="team:loans",
        exceptions="queue:loans", outcome=Cash,
    )  # fmt: skip

    @loan.step
    async def charge(trigger: Any) -> list[Card]:
        return []

    @loan.approval(by="role:lead")
    class Limit(BaseModel):
        account: Annotated[str, Secret()]

    loan.message("signed", payload=Signed)

    @loan.step
    async def pay(charge: list[Card], signed: Any) -> Cash:
        return Cash()

    return loan


def test_a_definition_says_where_the_secrets_of_each_of_its_values_are() -> None:
    assert _workflow(Card).spec.data["secrets"] == {
        "trigger": ["/number"],
        "charge": ["/*/number"],
        "Limit": ["/form/account"],
        "signed": ["/by"],
    }


def test_a_definition_without_secrets_says_nothing_of_them_and_keeps_its_hash() -> None:
    loan = Workflow(
        "loan", version=1, trigger=Cash, source="web", owner="team:loans",
        exceptions="queue:loans", outcome=Cash,
    )  # fmt: skip

    @loan.step
    async def pay(trigger: Cash) -> Cash:
        return trigger

    assert "secrets" not in loan.spec.data


def test_a_definition_with_a_trigger_that_would_lose_its_secret_is_refused() -> None:
    with pytest.raises(DefinitionRefused, match="trigger of workflow 'loan'"):
        _ = _workflow(Stars).spec
