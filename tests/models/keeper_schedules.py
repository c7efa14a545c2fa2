"""The world around the keepers of the model: random schedules, and what must hold after each.

By hand: ``python -m tests.models.keeper_schedules 20000``.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from random import Random

from tests.models.keeper_protocol import (
    STEPS,
    Append,
    Keeper,
    ProtocolBroken,
    Record,
    Rules,
    State,
)

__all__ = ["Outcome", "simulate"]

HEALING_ROUNDS_MAX = 300


@dataclass(frozen=True)
class Outcome:
    """What a schedule came to: the log, and counts to see that it was a hard one."""

    log: list[Record]
    void: int
    claims: int
    repeated_executions: int


class Schedule:
    """The world: what happens when, out of one seed."""

    def __init__(self, seed: int, rules: Rules) -> None:
        self.random = Random(seed)
        self.rules = rules
        self.log: list[Record] = []
        self.net: list[Append] = []
        self.late: list[Append] = []
        self.keepers = [Keeper(name, rules, self.log, self.net) for name in ("a", "b")]
        self.runs = self.random.randint(1, 4)
        self.requests = 0

    def request(self) -> None:
        kind = "trigger" if self.random.random() < 0.8 else "cancel"
        self.requests += 1
        request = Record(kind, self.random.randrange(self.runs), request_id=self.requests)
        self.log.append(request)
        if self.random.random() < 0.2:
            self.log.append(request)  # the same id a second time

    def deliver(self) -> None:
        """Let one append come to its end, in one of all the ways there are."""
        in_order = self.random.random() < 0.8
        append = self.net.pop(0 if in_order else self.random.randrange(len(self.net)))
        fate = self.random.random()
        if fate < 0.70:
            self.arrive(append, is_answered=True)
        elif fate < 0.78:
            self.arrive(append, is_answered=True)
            self.late.append(append)
        elif fate < 0.86:
            self.arrive(append, is_answered=False)
        else:
            self.answer(append, None)
            if fate < 0.93:
                self.late.append(append)

    def arrive(self, append: Append, is_answered: bool) -> None:
        first = len(self.log)
        self.log.extend(append.records)
        self.answer(append, first if is_answered else None)

    def answer(self, append: Append, first: int | None) -> None:
        if append.keeper.incarnation == append.incarnation:
            if first is None:
                append.keeper.unknown(append)
            else:
                append.keeper.accepted(append, first)

    def arrive_late(self) -> None:
        append = self.late.pop(self.random.randrange(len(self.late)))
        self.log.extend(append.records)

    def step(self) -> None:
        keeper = self.random.choice(self.keepers)
        what = self.random.random()
        if what < 0.08:
            self.request()
        elif what < 0.11:
            keeper.claim()
        elif what < 0.13:
            keeper.start()
        elif what < 0.16:
            keeper.paused = not keeper.paused
        elif what < 0.20:
            if self.late:
                self.arrive_late()
        elif what < 0.50:
            if self.net:
                self.deliver()
        elif keeper.paused:
            return
        elif what < 0.74:
            keeper.read(self.random.randint(1, 6))
        elif what < 0.90:
            keeper.decide(self.random)
        else:
            keeper.finish(self.random)

    def heal(self) -> None:
        """Keep the keepers up, let appends go well after a while, and see that all ends."""
        quiet = 0
        lossy_rounds = self.random.randint(0, 20)
        for number in range(HEALING_ROUNDS_MAX):
            before = len(self.log)
            for keeper in self.keepers:
                keeper.paused = False
            while self.net:
                if number < lossy_rounds:
                    self.deliver()
                else:
                    self.arrive(self.net.pop(0), is_answered=True)
            if self.late and self.random.random() < 0.5:
                self.arrive_late()
            for keeper in self.keepers:
                keeper.read(len(self.log))
            latest = max((o for o, r in enumerate(self.log) if r.kind == "claim"), default=-1)
            if not self.net and all(keeper.epoch != latest for keeper in self.keepers):
                self.keepers[0].claim()
            for keeper in self.keepers:
                keeper.finish(self.random)
                keeper.decide(self.random)
            busy = len(self.log) > before or self.net or any(k.working for k in self.keepers)
            quiet = 0 if busy else quiet + 1
            if quiet == 3:
                return
        raise ProtocolBroken("the keepers never come to rest")

    def check(self) -> Outcome:
        truth = State(self.rules)
        counted: set[Record] = set()
        answers: list[int] = []
        void = 0
        for offset, record in enumerate(self.log):
            if not truth.admits(offset, record):
                void += 1
            elif record.kind != "claim":
                truth.apply(offset, record)
                counted.add(record)
                answers += [record.cause] if record.cause >= 0 else []
        requests = [offset for offset, record in enumerate(self.log) if record.is_request]
        self._expect(sorted(answers) == requests, "every request has exactly one answer")
        for number, run in truth.runs.items():
            done = run.status == "cancelled" or len(run.outcomes) == STEPS
            self._expect(run.status != "running" and done, f"run {number} has ended: {run}")
        executed = [fact for keeper in self.keepers for fact in keeper.executed]
        self._expect(counted.issuperset(executed), "nobody acts on a fact that is void")
        self._expect(len(set(executed)) == len(executed), "a fact is acted on once")
        for keeper in self.keepers:
            same = (keeper.state.runs, keeper.state.epoch) == (truth.runs, truth.epoch)
            self._expect(same, f"keeper {keeper.name} reads what everybody reads")
        claims = sum(record.kind == "claim" for record in self.log)
        tries = {(fact.run, fact.step) for fact in executed}
        return Outcome(self.log, void, claims, len(executed) - len(tries))

    def _expect(self, holds: bool, what: str) -> None:
        if not holds:
            raise ProtocolBroken(f"expected that {what}")


def simulate(seed: int, rules: Rules | None = None) -> Outcome:
    """Run one schedule and return what it came to.

    Raises:
        ProtocolBroken: with what did not hold.
    """
    schedule = Schedule(seed, rules or Rules())
    for _ in range(schedule.random.randint(20, 250)):
        schedule.step()
    schedule.heal()
    return schedule.check()


if __name__ == "__main__":
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    outcomes = [simulate(seed) for seed in range(seeds)]
    void = sum(outcome.void for outcome in outcomes)
    claims = sum(outcome.claims for outcome in outcomes)
    repeated = sum(outcome.repeated_executions for outcome in outcomes)
    print(f"{seeds} seeds hold: {void} void facts, {claims} claims, {repeated} steps done again")
