"""What a try gave, as it goes into the log."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from meshline.engine.core.state import NodeState, RunState
from meshline.engine.outcomes import ResultInvalid, failure, storable
from meshline.engine.trial import Try
from meshline.events.errors import PayloadRefused
from meshline.events.gate import Gate
from meshline.events.requests import BusinessCase, StepError
from meshline.workflow import BusinessException, FailRun, RetryLater, Secret
from meshline.workflow.errors import RaisedWrongly
from meshline.workflow.secret import secrets_in
from meshline.workflow.spec import Parameter, RetryPolicy, StepNode


class Company(BaseModel):
    name: str


class CustomerGone(FailRun):
    pass


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Endless(Exception):
    retry_after_s = float("inf")


def step(**changed: Any) -> StepNode:
    return StepNode(name="step", **changed)


def failure_of(error: BaseException, node: StepNode | None = None) -> Any:
    trial = Try(RunState("run"), node or step(), 1)
    try:
        raise error
    except BaseException as raised:
        return failure(trial, raised)


@pytest.mark.parametrize("named", ["UnicodeDecodeError", "ValueError", "Exception"])
def test_a_policy_names_an_error_by_its_type_or_one_of_its_bases(named: str) -> None:
    node = step(retry=RetryPolicy(non_retryable=(named,)))

    error = failure_of(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), node)

    assert (error.type, error.retryable) == ("UnicodeDecodeError", False)


def test_an_error_that_no_policy_names_may_be_tried_again() -> None:
    node = step(retry=RetryPolicy(non_retryable=("LookupError",)))

    assert failure_of(ValueError("no"), node).retryable


def test_an_error_without_words_is_still_an_outcome() -> None:
    error = failure_of(Mute())

    assert error.type == "Mute"
    assert "can't be read" in error.message


def test_a_subclass_of_fail_run_fails_the_run() -> None:
    assert failure_of(CustomerGone("moved away")).type == "FailRun"


def test_what_a_step_raises_on_purpose_has_a_case_and_no_stack() -> None:
    raised = BusinessException(
        "credit_limit", "above it", severity="high", route="queue:credit", owner="user:ada",
        data={"company": Company(name="Acme")},
    )  # fmt: skip

    error = failure_of(raised)

    assert (error.type, error.message, error.stack) == ("BusinessException", "above it", None)
    assert not error.retryable
    assert error.business == BusinessCase(
        code="credit_limit", severity="high", route="queue:credit", owner="user:ada",
        data={"company": {"name": "Acme"}},
    )  # fmt: skip


@pytest.mark.parametrize("data", [{"text": "\x00"}, float("nan"), "x" * 20_000, object()])
def test_data_that_the_log_cannot_hold_is_left_out_and_nothing_else(data: Any) -> None:
    error = failure_of(BusinessException("credit_limit", "above it", data=data))

    assert (error.business.code, error.business.data) == ("credit_limit", None)
    assert error.message.startswith("above it (its data is left out: ")


@pytest.mark.parametrize(
    "wrong", [{"code": "no stock"}, {"severity": "huge"}, {"route": "x"}, {"owner": "x y"}]
)
def test_what_is_raised_wrongly_says_so_and_is_not_tried_again(wrong: dict[str, Any]) -> None:
    with pytest.raises(RaisedWrongly, match=r"ML4301 .*expected") as raised:
        BusinessException(**{"code": "no_stock"} | wrong)

    error = failure_of(raised.value)

    assert (error.type, error.retryable, error.business) == ("RaisedWrongly", False, None)


def test_a_step_may_say_how_long_to_wait() -> None:
    assert failure_of(RetryLater("busy", after="30s")).retry_after_s == 30


def test_an_endless_wait_is_no_wait_at_all() -> None:
    assert failure_of(Endless()).retry_after_s is None


def test_a_result_that_the_log_cannot_hold_is_refused_for_good() -> None:
    with pytest.raises(PayloadRefused) as refused:
        storable(step(), {"text": "\x00"}, Gate())

    error = failure_of(refused.value)

    assert (error.type, error.retryable) == ("ResultRefused:nul_character", False)


def test_a_result_is_checked_against_what_the_step_says_it_returns() -> None:
    node = step(result=TypeAdapter(Company))

    assert storable(node, {"name": "Acme"}, Gate()) == {"name": "Acme"}
    with pytest.raises(ResultInvalid):
        storable(node, {"names": "Acme"}, Gate())


NOW = datetime(2026, 11, 28, tzinfo=UTC)


class Salary(BaseModel):
    person: str
    amount: Annotated[int, Secret()]


def taking_a_secret() -> Try:
    takes = Parameter("pay", TypeAdapter(Salary), secrets=secrets_in(TypeAdapter(Salary)))
    run = RunState("run")
    run.nodes["pay"] = NodeState("succeeded", NOW, value=b'{"person": "Ada", "amount": 47110}')
    return Try(run, step(parameters=(takes,)), 1)


def told(trial: Try, error: BaseException) -> StepError:
    try:
        raise error
    except BaseException as raised:
        return failure(trial, raised)


def test_an_error_does_not_say_what_is_secret_of_what_the_step_took() -> None:
    error = told(taking_a_secret(), ValueError("Ada can't be paid 47110"))

    assert error.message == "Ada can't be paid [secret]"
    assert error.stack is not None
    assert "47110" not in error.stack


def test_the_data_of_a_business_exception_does_not_say_it_either() -> None:
    data = {"amount": 47110, "words": ["47110 SEK"], "of": {"47110": "Ada"}, "limit": 40000}

    error = told(taking_a_secret(), BusinessException("too_much", "47110!", data=data))

    assert error.message == "[secret]!"
    assert error.business is not None
    assert error.business.data == {
        "amount": "[secret]", "words": ["[secret] SEK"], "of": {"[secret]": "Ada"}, "limit": 40000,
    }  # fmt: skip


def test_a_value_that_does_not_fit_is_not_quoted() -> None:
    class Other(BaseModel):
        amount: list[int]

    trial = taking_a_secret()
    with pytest.raises(ValidationError) as raised:
        Other.model_validate({"amount": "x" * 500 + "47110"})

    error = told(trial, raised.value)

    assert "amount: Input should be a valid list" in error.message
    assert error.stack is not None
    assert "xxx" not in error.message + error.stack


def test_a_result_that_is_not_of_its_type_says_nothing_of_its_secrets() -> None:
    class Strict(BaseModel):
        person: str
        amount: Annotated[Literal["low"], Secret()]

    node = step(result=TypeAdapter(Strict))

    with pytest.raises(ResultInvalid) as raised:
        storable(node, {"person": 5, "amount": "47110"}, Gate())

    assert "person: Input should be a valid string" in str(raised.value)
    assert "amount: it is not as expected" in str(raised.value)
    assert "47110" not in str(raised.value)
