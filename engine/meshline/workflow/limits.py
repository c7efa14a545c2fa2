"""Limits of a step as authors write them: tries, times, how many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from meshline.workflow.durations import Duration, seconds_of
from meshline.workflow.errors import refuse
from meshline.workflow.spec import RetryPolicy

__all__ = ["Retry", "step_limits"]

_ATTEMPTS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Retry:
    """How often and how soon a failed step is tried again, with full jitter.

    When the last attempt has failed, an exception is opened and the run is held.

    Args:
        attempts: tries in all, the first one included; 1: no retry.
        initial: upper bound of the wait before the first retry.
        backoff: what the bound is multiplied by for each further one.
        maximum: the bound's own bound.
        non_retryable: error types, or their names, that open an exception at once; a type stands
            for its subclasses too.
    """

    attempts: int = 10
    initial: Duration = "1s"
    backoff: float = 2.0
    maximum: Duration = "100s"
    non_retryable: Sequence[type[BaseException] | str] = ()

    def policy(self, label: str) -> RetryPolicy:
        """Return it as the engine reads it.

        Args:
            label: whose it is, as a refusal names it.
        """
        if not _whole(self.attempts, _ATTEMPTS_MAX):
            raise refuse(
                "limit",
                f"The {label} has {self.attempts!r} attempts",
                expected=f"a whole number from 1 to {_ATTEMPTS_MAX}",
                do="Write Retry(attempts=1) for no retry, or total_timeout= to limit by time.",
            )
        if not _number(self.backoff) or not 1 <= self.backoff <= 100:
            raise refuse(
                "limit",
                f"The {label} has backoff {self.backoff!r}",
                expected="a number from 1 (always the same wait) to 100",
                do="Write Retry(backoff=2) to double the wait each time.",
            )
        initial_s = seconds_of(self.initial, f"first retry interval of {label}")
        maximum_s = seconds_of(self.maximum, f"longest retry interval of {label}")
        return RetryPolicy(
            maximum_attempts=self.attempts,
            initial_interval_s=initial_s,
            backoff=float(self.backoff),
            maximum_interval_s=max(initial_s, maximum_s),
            non_retryable=tuple(_error_name(each, label) for each in self.non_retryable),
        )


def step_limits(
    label: str,
    *,
    timeout: Duration,
    total_timeout: Duration | None,
    heartbeat: Duration | None,
    concurrency: int | None,
) -> dict[str, Any]:
    """Return the fields of a ``StepNode`` for these, checked."""
    if concurrency is not None and not _whole(concurrency, 100_000):
        raise refuse(
            "limit",
            f"The {label} has concurrency {concurrency!r}",
            expected="a whole number from 1",
            do="Leave it out to let the worker decide.",
        )
    timeout_s = seconds_of(timeout, f"timeout of {label}")
    total_s = total_timeout and seconds_of(total_timeout, f"total_timeout of {label}")
    heartbeat_s = heartbeat and seconds_of(heartbeat, f"heartbeat of {label}")
    if total_s and total_s < timeout_s:
        raise refuse(
            "limit",
            f"The {label} may take {total_timeout} over all tries, and {timeout} for one",
            expected="a total_timeout that is not shorter than timeout",
            do="Make timeout shorter, or total_timeout longer.",
        )
    if heartbeat_s and heartbeat_s >= timeout_s:
        raise refuse(
            "limit",
            f"The {label} has heartbeat {heartbeat} and timeout {timeout}",
            expected="a heartbeat that is shorter: silence is noticed before the time is up",
            do="Make heartbeat shorter, or leave it out.",
        )
    return {
        "start_to_close_s": timeout_s,
        "schedule_to_close_s": total_s or None,
        "heartbeat_s": heartbeat_s or None,
        "concurrency_max": concurrency,
    }


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(value: object, maximum: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= maximum


def _error_name(error: object, label: str) -> str:
    if isinstance(error, str) and error:
        return error
    if isinstance(error, type) and issubclass(error, BaseException):
        return error.__name__
    raise refuse(
        "limit",
        f"The {label} has {error!r} in non_retryable",
        expected="types of errors, or their names",
        do='Write for example Retry(non_retryable=[ValueError, "CompanyUnknown"]).',
    )
