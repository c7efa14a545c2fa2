"""A model of the keeper protocol: one partition, two keepers, one random schedule per seed.

A keeper appends a claim; its epoch is the claim's offset. It acts once it has read the log up to
there, numbers its facts 1, 2, 3 … within the epoch, and acts on a fact only when it has read it
back. A fact counts if its epoch is the latest claim's and its number exactly the next. A keeper
claims anew when an append of its has no answer, and when it reads a fact of its own that is void.

The world loses, doubles, delays and reorders appends, crashes keepers, pauses them, and lets those
that were replaced go on (``keeper_schedules.py``). Each switch in ``Rules`` turns one rule off: the
model must find every one of these mistakes. Change the protocol here first.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random
from typing import NamedTuple

__all__ = ["STEPS", "Append", "Keeper", "ProtocolBroken", "Record", "Rules", "State"]

STEPS = 3


class ProtocolBroken(Exception):
    """Something that must always hold did not."""


@dataclass(frozen=True)
class Rules:
    """The rules of the protocol; with one of them off it is wrong."""

    epoch_is_checked: bool = True
    sequence_is_checked: bool = True
    reads_up_to_its_claim: bool = True
    acts_only_on_what_was_accepted: bool = True
    acts_only_on_what_was_read_back: bool = True
    claims_anew_after_unknown: bool = True
    claims_anew_after_void: bool = True
    numbers_each_fact_once: bool = True
    answers_by_position: bool = True


class Record(NamedTuple):
    """``kind``: claim · trigger, cancel (requests) · the rest are facts."""

    kind: str
    run: int = -1
    step: int = -1
    attempt: int = 0
    cause: int = -1  # offset of the request that the fact answers
    epoch: int = -1
    sequence: int = 0
    claim: tuple[str, int, int] = ("", 0, 0)  # keeper, incarnation, number of the claim
    request_id: int = -1

    @property
    def is_request(self) -> bool:
        return self.kind in ("trigger", "cancel")

    @property
    def work(self) -> tuple[int, int, int]:
        return self.run, self.step, self.attempt


@dataclass
class Run:
    status: str = "running"
    attempts: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # attempt, epoch
    outcomes: dict[int, int] = field(default_factory=dict)  # step → the attempt that counts

    @property
    def next_step(self) -> int:
        return len(self.outcomes)

    def copy(self) -> Run:
        attempts = {step: list(tries) for step, tries in self.attempts.items()}
        return Run(self.status, attempts, dict(self.outcomes))


@dataclass
class State:
    """What every reader derives from the log. Applying never refuses: it finds mistakes."""

    rules: Rules
    epoch: int = -1
    sequence: int = 0
    runs: dict[int, Run] = field(default_factory=dict)
    unanswered: dict[int, Record] = field(default_factory=dict)
    answered_ids: set[int] = field(default_factory=set)

    def copy(self) -> State:
        runs = {number: run.copy() for number, run in self.runs.items()}
        return replace(
            self, runs=runs, unanswered=dict(self.unanswered), answered_ids=set(self.answered_ids)
        )

    def admits(self, offset: int, record: Record) -> bool:
        """The rule of ``meshline.events.fence``."""
        if record.kind == "claim":
            self.epoch, self.sequence = offset, 0
            return True
        if record.is_request:
            return True
        if self.rules.epoch_is_checked and record.epoch != self.epoch:
            return False
        if self.rules.sequence_is_checked and record.sequence != self.sequence + 1:
            return False
        self.sequence = record.sequence
        return True

    def apply(self, offset: int, record: Record) -> None:
        if record.is_request:
            if self.rules.answers_by_position or record.request_id not in self.answered_ids:
                self.unanswered[offset] = record
            return
        if record.cause >= 0:
            request = self.unanswered.pop(record.cause, None)
            self._expect(request is not None, offset, record)
            assert request is not None
            if not self.rules.answers_by_position:
                self.answered_ids.add(request.request_id)
                same = request.request_id
                rest = {o: r for o, r in self.unanswered.items() if r.request_id != same}
                self.unanswered = rest
        run = self.runs.get(record.run)
        if record.kind == "accepted":
            self._expect(run is None, offset, record)
            self.runs[record.run] = Run()
            return
        if record.kind == "rejected":
            return
        if run is None:
            raise ProtocolBroken(f"{record} at {offset}: no such run")
        if record.kind == "deduplicated":
            return
        self._expect(run.status == "running", offset, record)
        if record.kind == "started":
            tries = run.attempts.setdefault(record.step, [])
            self._expect(record.step == run.next_step, offset, record)
            self._expect(record.attempt == len(tries) + 1, offset, record)
            tries.append((record.attempt, record.epoch))
        elif record.kind == "succeeded":
            known = [attempt for attempt, _ in run.attempts.get(record.step, ())]
            self._expect(record.attempt in known, offset, record)
            self._expect(record.step not in run.outcomes, offset, record)
            run.outcomes[record.step] = record.attempt
        else:
            self._expect(record.kind == "cancelled" or run.next_step == STEPS, offset, record)
            run.status = record.kind

    def _expect(self, holds: bool, offset: int, record: Record) -> None:
        if not holds:
            raise ProtocolBroken(f"{record} at {offset} counts, and can't be applied")


@dataclass
class Append:
    """Facts or a claim on their way to the log."""

    keeper: Keeper
    incarnation: int
    records: list[Record]


@dataclass
class Keeper:
    name: str
    rules: Rules
    log: list[Record]
    net: list[Append]
    executed: list[Record] = field(default_factory=list)
    incarnation: int = 0
    claims: int = 0

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Begin with nothing in memory. What was sent before may still arrive."""
        self.incarnation += 1
        self.paused = False
        self.state = State(self.rules)
        self.position = 0
        self.epoch: int | None = None
        self.ahead = self.state  # the state that there will be when all that was sent counts
        self.next_sequence = 1
        self.working: list[Record] = []
        self.results: list[Record] = []

    # -- claiming ----------------------------------------------------------------------------

    def claim(self) -> None:
        self.epoch = None
        self.claims += 1
        self.send([Record("claim", claim=(self.name, self.incarnation, self.claims))])

    def hold(self, offset: int) -> None:
        self.epoch = offset
        self.next_sequence = 1
        self.ahead = self.state.copy()

    def is_mine(self, record: Record) -> bool:
        return record.claim[:2] == (self.name, self.incarnation)

    # -- reading -----------------------------------------------------------------------------

    def read(self, records_max: int) -> None:
        for offset in range(self.position, min(len(self.log), self.position + records_max)):
            record = self.log[offset]
            self.position = offset + 1
            counts = self.state.admits(offset, record)
            if record.kind == "claim":
                self._read_claim(offset, record)
            elif counts:
                self.state.apply(offset, record)
                if record.is_request:
                    if self.epoch is not None and self.ahead is not self.state:
                        self.ahead.apply(offset, record)
                elif record.epoch == self.epoch:
                    self.act(record, on="read")
            elif self._shows_a_loss(record) and self.rules.claims_anew_after_void:
                self.claim()

    def _shows_a_loss(self, void: Record) -> bool:
        """An earlier fact of this epoch was lost, or this one overtook it."""
        return void.epoch == self.epoch and void.sequence > self.state.sequence

    def _read_claim(self, offset: int, record: Record) -> None:
        if self.is_mine(record) and record.claim[2] == self.claims:
            self.hold(offset)
        elif self.is_mine(record) and self.epoch is not None:
            self.claim()  # An older claim of ours came late, and voids what we do since the newer.
        else:
            self.epoch = None  # Somebody else's: stand down.

    # -- acting ------------------------------------------------------------------------------

    def act(self, fact: Record, on: str) -> None:
        """Begin the work of a fact, at the moment that the rules name."""
        if not self.rules.acts_only_on_what_was_accepted:
            moment = "sent"
        elif not self.rules.acts_only_on_what_was_read_back:
            moment = "accepted"
        else:
            moment = "read"
        if fact.kind == "started" and on == moment:
            self.executed.append(fact)
            self.working.append(fact)

    def finish(self, random: Random) -> None:
        if self.working:
            self.results.append(self.working.pop(random.randrange(len(self.working))))

    def decide(self, random: Random) -> None:
        """Send the facts that are missing, in one append or several."""
        if self.epoch is None:
            return
        facts = []
        while (fact := self._missing()) is not None:
            fact = fact._replace(epoch=self.epoch, sequence=self.next_sequence)
            self.next_sequence += 1
            self.ahead.apply(-1, fact)
            self.act(fact, on="sent")
            facts.append(fact)
        while facts:
            size = random.randint(1, 4)
            self.send(facts[:size])
            facts = facts[size:]

    def _missing(self) -> Record | None:
        """Close the gap between the state and what the definition demands, one fact at a time."""
        for offset, request in self.ahead.unanswered.items():
            known = self.ahead.runs.get(request.run)
            if request.kind == "trigger":
                kind = "accepted" if known is None else "deduplicated"
            else:
                kind = "cancelled" if known and known.status == "running" else "rejected"
            return Record(kind, request.run, cause=offset)
        for number, run in self.ahead.runs.items():
            if run.status != "running":
                continue
            step = run.next_step
            if step == STEPS:
                return Record("ended", number)
            for result in self.results:
                if (result.run, result.step) == (number, step):
                    return Record("succeeded", *result.work)
            tries = run.attempts.get(step, [])
            busy = any((w.run, w.step) == (number, step) for w in self.working)
            # A new epoch starts again what an older one started, unless it is still under way here.
            if not tries or (tries[-1][1] != self.epoch and not busy):
                return Record("started", number, step, len(tries) + 1)
        return None

    # -- appending ---------------------------------------------------------------------------

    def send(self, records: list[Record]) -> None:
        self.net.append(Append(self, self.incarnation, records))

    def accepted(self, append: Append, first: int) -> None:
        if first == self.position:
            # It follows directly on what was read: as good as reading it back, and a hop less.
            self.read(len(append.records))
        for offset, record in enumerate(append.records, first):
            if record.kind == "claim" and not self.rules.reads_up_to_its_claim:
                if record.claim[2] == self.claims:
                    self.hold(offset)
            elif record.epoch == self.epoch:
                self.act(record, on="accepted")

    def unknown(self, append: Append) -> None:
        record = append.records[0]
        if record.kind == "claim":
            if record.claim[2] == self.claims:
                self.claim()
        elif record.epoch == self.epoch:
            if not self.rules.numbers_each_fact_once:
                # Decide again in the same epoch, from the last number that was read back.
                self.next_sequence = self.state.sequence + 1
                self.ahead = self.state.copy()
            elif self.rules.claims_anew_after_unknown:
                self.claim()
