"""What a seed means: who takes part, how the network is, and what strikes whom, when.

A plan is data, so that it can be told, kept, and made smaller as long as it still shows a bug.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal

__all__ = ["POINTS", "RATES", "Kind", "Plan", "Strike"]

Kind = Literal[
    "crash",
    "crash_at",
    "freeze",
    "cut",
    "slow",
    "skew",
    "jump",
    "rebalance",
    "restart",
    "deploy",
    "rebuild",
    "swap",
    "rollback",
    "poison",
]

POINTS = (
    "claim:sent",
    "claim:landed",
    "claim:answered",
    "append:sent",
    "append:landed",
    "append:answered",
    "fetch",
    "snapshot.save",
    "snapshot.save:half",
    "snapshot.load",
    "step:begun",
    "step:done",
    "store.install",
    "store.load",
    "store.commit:sent",
    "store.commit:landed",
    "store.commit:answered",
    "view.swap",
)
"""Where a process can be killed: before, in and after each of its ways to the outside."""

RATES = (
    "append_lost",
    "append_refused",
    "append_answer_lost",
    "append_late",
    "append_twice",
    "append_split",
    "commit_lost",
    "commit_answer_lost",
    "commit_late",
    "store_fails",
    "log_unavailable",
    "snapshot_torn",
    "snapshot_lost",
    "step_fails",
    "step_dawdles",
)
"""What goes wrong now and then, each with how likely it is, 0.0 to 1.0."""

_NETWORK = ("append_", "commit_", "store_", "log_")


@dataclass(frozen=True)
class Strike:
    """One fault.

    Args:
        at_s: when, in the simulation's time.
        target: the process that it strikes.
        for_s: how long it lasts; of a crash, until the process is started again.
        amount: of a jump or a skew, the seconds.
        point: of ``crash_at``, where; the process dies there the next ``passings``-th time.
    """

    kind: Kind
    at_s: float
    target: str = ""
    for_s: float = 0.0
    amount: float = 0.0
    point: str = ""
    passings: int = 1

    def __str__(self) -> str:
        return _WORDS[self.kind].format(
            who=self.target, for_s=self.for_s, amount=self.amount, point=self.point, n=self.passings
        )


_WORDS: dict[Kind, str] = {
    "crash": "{who} is killed, and started again {for_s:.1f} s later",
    "crash_at": "{who} dies when it comes to {point} ({n}), and starts again {for_s:.1f} s later",
    "freeze": "{who} stands still for {for_s:.1f} s",
    "cut": "{who} is cut off for {for_s:.1f} s",
    "slow": "{who} is slow for {for_s:.1f} s",
    "skew": "the clock of {who} is {amount:+.1f} s off",
    "jump": "all clocks jump by {amount:.1f} s",
    "rebalance": "the partitions are dealt out anew",
    "restart": "{who} is told to stop, and started again",
    "deploy": "{who} gets other definitions",
    "rebuild": "a view is built anew",
    "swap": "the newest view is put live",
    "rollback": "the first view is put live again",
    "poison": "somebody appends what is no event",
}


@dataclass(frozen=True)
class Plan:
    """See the module.

    Args:
        troubles_s: how long faults strike before everything is healed.
        requests: how much is asked of the system.
        rates: see ``RATES``; what is not named does not happen.
        jumble: how likely a callback is to overtake others of its process.
    """

    seed: int
    partitions: int = 1
    workers: int = 2
    projectors: int = 1
    clients: int = 1
    troubles_s: float = 30.0
    requests: int = 20
    rates: Mapping[str, float] | None = None
    strikes: tuple[Strike, ...] = ()
    jumble: float = 0.0

    @property
    def processes(self) -> tuple[str, ...]:
        return (
            *(f"worker{n}" for n in range(self.workers)),
            *(f"projector{n}" for n in range(self.projectors)),
            *(f"client{n}" for n in range(self.clients)),
        )

    def rate(self, what: str) -> float:
        return 0.0 if self.rates is None else self.rates.get(what, 0.0)

    @staticmethod
    def of(seed: int) -> Plan:
        """Return the plan of a seed."""
        random = Random(f"{seed}/plan")
        partitions = random.choice([1, 1, 2, 3])
        troubles_s = random.choice([8.0, 20.0, 40.0])
        plan = Plan(
            seed,
            partitions=partitions,
            workers=random.choice([1, 2, 2, 3]),
            projectors=random.choice([1, 1, 2]),
            clients=random.choice([1, 2]),
            troubles_s=troubles_s,
            requests=random.randint(4, 36),
            rates=_rates(random),
            jumble=random.choice([0.0, 0.0, 0.05, 0.3]),
        )
        count = random.choice([0, 2, 5, 9, 14])
        strikes = sorted(
            (_strike(random, plan) for _ in range(count)), key=lambda strike: strike.at_s
        )
        return Plan(**{**vars(plan), "strikes": tuple(strikes)})


def _rates(random: Random) -> dict[str, float]:
    """Some seeds are kind, some are cruel, and each in its own way."""
    level = random.choice([0.0, 0.02, 0.05, 0.12])
    chosen = random.sample(RATES, random.randint(3, len(RATES)))
    rates = {what: level for what in chosen if what.startswith(_NETWORK)}
    rates |= {what: random.choice([0.1, 0.5]) for what in chosen if what.startswith("snapshot_")}
    rates["step_fails"] = random.choice([0.0, 0.2, 0.5])
    rates["step_dawdles"] = random.choice([0.0, 0.1, 0.3])
    return rates


_STRIKES: dict[Kind, int] = {
    "crash": 4,
    "crash_at": 12,
    "freeze": 6,
    "cut": 4,
    "slow": 2,
    "skew": 2,
    "jump": 2,
    "rebalance": 3,
    "restart": 3,
    "deploy": 2,
    "rebuild": 3,
    "swap": 1,
    "rollback": 1,
    "poison": 1,
}


_SKEWS = [-86_400.0, -20.0, -0.5, 0.5, 20.0, 86_400.0]
"""With a day a worker must end before it says anything; the others are within its bounds."""


def _strike(random: Random, plan: Plan) -> Strike:
    kind = random.choices([*_STRIKES], [*_STRIKES.values()])[0]
    at_s = round(random.uniform(0.0, plan.troubles_s), 3)
    target = random.choice(plan.processes)
    match kind:
        case "crash_at":
            point = random.choice(POINTS)
            return Strike(
                kind,
                round(at_s / 2, 3),
                _who_passes(random, plan, point),
                for_s=random.choice([0.0, 0.5, 4.0, 12.0]),
                point=point,
                passings=random.choice([1, 1, 2, 5]),
            )
        case "crash":
            return Strike(kind, at_s, target, for_s=random.choice([0.0, 0.5, 4.0, 12.0]))
        case "freeze" | "cut":
            return Strike(kind, at_s, target, for_s=random.choice([0.3, 2.0, 8.0, 15.0]))
        case "slow":
            return Strike(kind, at_s, target, for_s=random.choice([5.0, 20.0]))
        case "skew":
            return Strike(kind, at_s, target, amount=random.choice(_SKEWS))
        case "jump":
            return Strike(kind, at_s, amount=random.choice([1.0, 60.0, 4000.0, 90_000.0]))
        case "restart" | "deploy":
            workers = [name for name in plan.processes if name.startswith("worker")]
            return Strike(kind, at_s, random.choice(workers), for_s=random.choice([0.0, 1.0, 8.0]))
        case _:
            return Strike(kind, at_s)


def _who_passes(random: Random, plan: Plan, point: str) -> str:
    if point.startswith(("store", "view")):
        kinds: tuple[str, ...] = ("projector",)
    elif point.startswith(("claim", "snapshot", "step")):
        kinds = ("worker",)
    elif point.startswith("append"):
        kinds = ("worker", "worker", "client")
    else:
        kinds = ("worker", "projector", "client")
    kind = random.choice(kinds)
    return random.choice([name for name in plan.processes if name.startswith(kind)])
