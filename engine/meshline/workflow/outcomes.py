"""What a step may raise to say more than that it failed."""

from __future__ import annotations

from meshline.workflow.durations import Duration, seconds_of

__all__ = ["FailRun", "RetryLater"]


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
