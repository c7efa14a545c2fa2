"""A workflow in which everything that people are shown holds a secret in a field that is marked."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, SecretStr

from meshline.workflow import Approval, Retry, Secret, Workflow

__all__ = ["SECRET", "SOURCE", "loans"]

SECRET = "SECRET-4711-XYZZY"
SOURCE = "shop.orders"
Hidden = Annotated[str, Secret()]


class Line(BaseModel):
    text: str
    account: Hidden


class Loan(BaseModel):
    name: str
    account: Annotated[SecretStr, Secret()]
    lines: list[Line] = []


class Scored(BaseModel):
    name: str
    score: int
    account: Annotated[SecretStr, Secret()]


class Limit(BaseModel):
    amount: int
    account: Hidden


class Signed(BaseModel):
    by: str
    account: Hidden


class Paid(BaseModel):
    name: str
    account: Hidden


loans = Workflow(
    "loan", version=1, trigger=Loan, source=SOURCE, owner="team:loans",
    exceptions="queue:loans", outcome=Paid, outcome_step="ship",
)  # fmt: skip


@loans.assign
def whose(trigger: Loan) -> str:
    return "team:loans" if trigger.account.get_secret_value() else "team:nobody"


@loans.step
async def score(trigger: Loan) -> Scored:
    assert trigger.account.get_secret_value() == SECRET, "steps are handed the true value"
    return Scored(name=trigger.name, score=1, account=trigger.account)


@loans.step(each="trigger.lines")
async def book(item: Line, index: int) -> Line:
    assert item.account == SECRET, "and so is what is done for each item"
    return item.model_copy(update={"text": f"{index}: {item.text}"})


@loans.step(when=lambda score: score.score > 1)
async def praise(score: Scored) -> str:
    return score.account.get_secret_value()


@loans.approval("credit", by="role:lead")
class Credit(Limit):
    pass


@loans.task("call", by="team:loans", after="credit")
class Call(BaseModel):
    note: str
    account: Hidden


loans.message("signed", payload=Signed, after="call")


@loans.step(retry=Retry(attempts=1), after=["praise", "book"])
async def ship(trigger: Loan, score: Scored, credit: Approval, call: Call, signed: Signed) -> Paid:
    form: Any = credit.form
    assert {form.account, call.account, signed.account} == {SECRET}
    if trigger.name == "Nobody":
        raise RuntimeError(f"{trigger.account.get_secret_value()} is nobody's account")
    return Paid(name=trigger.name, account=score.account.get_secret_value())
