"""What a step may raise to say more than that it failed."""

from __future__ import annotations

import re
from typing import Any, Literal, get_args

from meshline.events.principals import is_principal
from meshline.events.requests import BUSINESS_CODE
from meshline.workflow.durations import Duration, seconds_of
from meshline.workflow.errors import RaisedWrongly

__all__ = ["BusinessException", "FailRun", "RetryLater"]

Severity = Literal["low", "medium", "high", "critical"]


class BusinessException(Exception):  # it is what a person must see, and no error
    """Nothing broke, and no further try would help: a person must decide.

    The run is held by an exception of the kind ``business``. Retrying it does the step again;
    skipping it goes on with a value in place of the step's result.

    Args:
        code: names the case, such as ``"credit_limit"``; exceptions with the same code of one
            workflow are one cause.
        message: for the person who sees it.
        route: where it is seen, such as ``"queue:credit"``; None: where the workflow's are.
        owner: who answers for it there; None: the route.
        data: what that person needs to know, as anything that can be written as JSON, up to 16 KiB.

    Raises:
        RaisedWrongly: ML4301, the code, severity, route or owner is none.
    """

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        severity: Severity = "medium",
        route: str | None = None,
        owner: str | None = None,
        data: Any = None,
    ) -> None:
        super().__init__(message or code)
        if re.fullmatch(BUSINESS_CODE, str(code)) is None:
            raise _wrong("code", code, "a letter, then at most 99 letters, digits, '_', '.' or '-'")
        if severity not in get_args(Severity):
            raise _wrong("severity", severity, f"one of {', '.join(get_args(Severity))}")
        for name, principal in (("route", route), ("owner", owner)):
            if principal is not None and not is_principal(principal):
                raise _wrong(name, principal, "a principal such as 'queue:credit' or 'user:ada'")
        self.code = code
        self.severity = severity
        self.route = route
        self.owner = owner
        self.data = data


def _wrong(what: str, value: object, expected: str) -> RaisedWrongly:
    return RaisedWrongly(
        f"A BusinessException has the {what} {value!r}: expected {expected}. Correct it where the "
        "step raises it, then retry."
    )


class FailRun(Exception):  # it is said, as in ``raise FailRun("…")``, not an error
    """The run as a whole has failed, and trying again or asking a person would not help.

    What was done is compensated; then the run ends as failed, with this reason.
    """


class RetryLater(Exception):
    """Try the step again after this time, whatever the retry policy would have waited.

    Args:
        after: such as ``"30s"``; what a system outside asks for with Retry-After.
    """

    def __init__(self, reason: str, *, after: Duration) -> None:
        super().__init__(reason)
        self.retry_after_s = seconds_of(after, "after= of RetryLater")
