"""What a try gave, as it goes into the log: a result that passes the gate, or why it failed."""

from __future__ import annotations

import math
import traceback
from collections.abc import Collection
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from meshline.engine.core.faults import faults_of
from meshline.engine.core.nodes import FAIL_RUN
from meshline.engine.core.rules import message_of
from meshline.engine.errors import StepBlockedLoop
from meshline.engine.trial import Try
from meshline.events.errors import PayloadRefused
from meshline.events.gate import Gate
from meshline.events.requests import BUSINESS_DATA_BYTES_MAX, BusinessCase, StepError
from meshline.events.secrets import MASK
from meshline.workflow.errors import RaisedWrongly
from meshline.workflow.outcomes import BusinessException, FailRun
from meshline.workflow.secret import secrets_in
from meshline.workflow.spec import StepNode

__all__ = ["failure", "storable"]

_STACK_LENGTH_MAX = 4_000
_MESSAGE_LENGTH_MAX = 2_000
_BUSINESS_GATE = Gate(payload_bytes_max=BUSINESS_DATA_BYTES_MAX)
_VAST = 16
"""So many times the limit is vast: not even a type that writes itself shorter is asked then."""


class ResultInvalid(Exception):
    """What the step returned is of another type than it says; another try would be no better."""


def storable(node: StepNode, result: Any, gate: Gate) -> Any:
    """Return the result as plain JSON.

    Raises:
        PayloadRefused: the log can't hold it.
        ResultInvalid: it is not of the type that the step says it returns.
    """
    if result is None and node.result is None:
        return None
    _check_vast(result, gate)
    if node.result is None:
        return gate.check(result)
    try:
        value = node.result.validate_python(result)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, at)) or 'value'}: {what}"
            for at, what in faults_of(error, secrets_in(node.result))
        )
        raise ResultInvalid(f"{node.name} did not return what it says: {faults}") from error
    return gate.parse(node.result.dump_json(value))


def _check_vast(result: Any, gate: Gate) -> None:
    """Refuse what is larger than the limit by far, before it is written as JSON to be measured.

    That would take seconds for a gigabyte, in which the event loop does nothing else.
    """
    bytes_max = gate.payload_bytes_max * _VAST
    size_bytes = 0
    left = [result]
    while left:
        value = left.pop()
        # Each value and each character takes a byte at least.
        size_bytes += len(value) if isinstance(value, str | bytes | bytearray) else 1
        if isinstance(value, dict | list | tuple | set | frozenset):
            size_bytes += len(value)
            if size_bytes <= bytes_max:
                left.extend(value.values() if isinstance(value, dict) else value)
        elif isinstance(value, BaseModel):
            left.extend(value.__dict__.values())
        if size_bytes > bytes_max:
            raise PayloadRefused(
                "too_large",
                f"The result has more than {bytes_max} bytes: expected at most "
                f"{gate.payload_bytes_max}. Keep large content elsewhere and return its address.",
            )


def failure(trial: Try, error: BaseException) -> StepError:
    """Return why the try failed.

    Whether the retry policy lets it be tried again is decided here, where the error's bases are
    still known, and written down; what the log holds of the type is its name.
    """
    names = {base.__name__ for base in type(error).__mro__}
    retryable = names.isdisjoint(trial.node.retry.non_retryable)
    kind = type(error).__name__
    if isinstance(error, BusinessException):
        return _business(kind, error, trial.secret_texts())
    if isinstance(error, PayloadRefused):
        kind, retryable = f"ResultRefused:{error.reason}", False
    elif isinstance(error, FailRun):
        # The decider knows it by this name; a subclass means the same.
        kind = FAIL_RUN
    elif isinstance(error, ValidationError) and not trial.called:
        kind, retryable = "InputInvalid", False
    elif isinstance(error, ResultInvalid | StepBlockedLoop | RaisedWrongly):
        retryable = False
    unsaid = trial.secret_texts()
    return StepError(
        type=kind,
        message=_without(message_of(error), unsaid)[:_MESSAGE_LENGTH_MAX],
        stack=_stack(error, unsaid),
        retry_after_s=_seconds(getattr(error, "retry_after_s", None)),
        retryable=retryable,
    )


def _business(kind: str, error: BusinessException, unsaid: Collection[str]) -> StepError:
    """Return it without a stack: nothing broke. What the log can't hold of it is left out."""
    message, data = _without(message_of(error), unsaid)[:_MESSAGE_LENGTH_MAX], None
    try:
        data = _BUSINESS_GATE.check(_unsaid_in(to_jsonable_python(error.data), unsaid))
    except Exception as refused:  # an author's values may raise whatever they like
        message = f"{message} (its data is left out: {message_of(refused)[:200]})"
    case = BusinessCase(
        code=error.code, severity=error.severity, route=error.route, owner=error.owner, data=data
    )
    return StepError(type=kind, message=message, retryable=False, business=case)


def _stack(error: BaseException, unsaid: Collection[str]) -> str | None:
    try:
        if _quotes_values(error):
            lines = [*traceback.format_tb(error.__traceback__, limit=-8), type(error).__name__]
        else:
            lines = traceback.format_exception(error, limit=-8)
        return _without("".join(lines), unsaid)[-_STACK_LENGTH_MAX:]
    except Exception:  # an error that can't say what it is has no readable stack either
        return None


def _quotes_values(error: BaseException | None) -> bool:
    """Whether the error, or what it follows from, is one that shows values in its words."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        if isinstance(error, ValidationError):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False


def _without(text: str, unsaid: Collection[str]) -> str:
    """Return the text with the mask where it says what is secret of what the step took."""
    # The longest first: a shorter one may stand in it.
    for each in sorted(unsaid, key=len, reverse=True):
        text = text.replace(each, MASK)
    return text


def _unsaid_in(value: Any, unsaid: Collection[str]) -> Any:
    if isinstance(value, dict):
        return {_without(n, unsaid): _unsaid_in(each, unsaid) for n, each in value.items()}
    if isinstance(value, list):
        return [_unsaid_in(each, unsaid) for each in value]
    if isinstance(value, str):
        return _without(value, unsaid)
    return MASK if str(value) in unsaid else value


def _seconds(value: object) -> float | None:
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return None
