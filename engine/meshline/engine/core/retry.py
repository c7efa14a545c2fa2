"""When a failed step is tried again."""

from __future__ import annotations

import hashlib

from meshline.events.requests import StepError
from meshline.workflow.spec import RetryPolicy

__all__ = ["delay_s", "jitter_of", "may_retry"]


def may_retry(policy: RetryPolicy, failures: int, error: StepError) -> bool:
    """Return whether another try is allowed after ``failures`` of them (this one included)."""
    return error.retryable and failures < policy.maximum_attempts


def delay_s(policy: RetryPolicy, failures: int, jitter: float) -> float:
    """Return how long to wait before the next try.

    Args:
        failures: 1 after the first failure, not 0.
        jitter: 0.0 to 1.0, handed in, so that the same inputs give the same number.
    Returns:
        Seconds, 0 to policy.maximum_interval_s.
    Source: exponential backoff with full jitter (AWS Architecture Blog, 2015).
    """
    assert failures >= 1
    # Bounded before the power: 2.0 ** 1100 is no float.
    growth = policy.backoff ** min(failures - 1, 64)
    return jitter * min(policy.maximum_interval_s, policy.initial_interval_s * growth)


def jitter_of(run_id: str, step: str, attempt: int) -> float:
    """Return a number from 0.0 to 1.0 that looks random and is the same on every machine."""
    digest = hashlib.blake2b(f"{run_id}/{step}/{attempt}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
