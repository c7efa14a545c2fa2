"""Making a failing plan smaller, as long as it still fails in the same way, and telling it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from meshline.testing.simulation.plan import Plan, Strike

__all__ = ["Failure", "failure_of", "shrink"]

TRIES_MAX = 120

Run = Callable[[Plan, Callable[[str], None] | None], object]


@dataclass(frozen=True)
class Failure:
    """What a plan showed.

    Args:
        kind: what it must show to be the same failure: the error's class.
        text: in words.
    """

    kind: str
    text: str


def failure_of(run: Run, plan: Plan, tell: Callable[[str], None] | None = None) -> Failure | None:
    """Run the plan, and return how it failed; None if it did not."""
    try:
        run(plan, tell)
    except Exception as error:
        notes = "".join(f"\n{note}" for note in getattr(error, "__notes__", ()))
        return Failure(type(error).__name__, f"{type(error).__name__}: {error}{notes}")
    return None


def shrink(run: Run, plan: Plan, failure: Failure, *, tries_max: int = TRIES_MAX) -> Plan:
    """Return the smallest plan found that fails in the same way."""
    tries = 0
    smaller = True
    while smaller:
        smaller = False
        for candidate in _smaller(plan):
            if tries >= tries_max:
                return plan
            tries += 1
            found = failure_of(run, candidate)
            if found is not None and found.kind == failure.kind:
                plan, smaller = candidate, True
                break
    return plan


def _smaller(plan: Plan) -> Iterator[Plan]:
    """Yield what is smaller than the plan, the boldest cuts first."""
    strikes = plan.strikes
    size = len(strikes)
    while size:
        for first in range(0, len(strikes), size):
            yield replace(plan, strikes=strikes[:first] + strikes[first + size :])
        size //= 2
    rates = {what: rate for what, rate in (plan.rates or {}).items() if rate}
    if rates:
        yield replace(plan, rates=None)
    for what in rates:
        yield replace(plan, rates={other: rate for other, rate in rates.items() if other != what})
    if plan.requests > 1:
        yield replace(plan, requests=plan.requests // 2)
        yield replace(plan, requests=plan.requests - 1)
    for field in ("partitions", "workers", "projectors", "clients"):
        fewer = getattr(plan, field) - 1
        if fewer:
            yield replace(plan, **{field: fewer}, strikes=_of_those(strikes, field, fewer))
    if plan.jumble:
        yield replace(plan, jumble=0.0)


def _of_those(strikes: tuple[Strike, ...], field: str, left: int) -> tuple[Strike, ...]:
    gone = f"{field.removesuffix('s')}{left}"
    return tuple(strike for strike in strikes if strike.target != gone)
