"""A reader that believes nobody: it folds the log by itself and says what should not be there.

What is void is no violation: the fence is there so that it harms nobody.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from meshline.engine.core.audit_definitions import DEFINED
from meshline.engine.core.audit_rules import RULES, Case, Noted, Wrong
from meshline.engine.core.invariants import find_problems
from meshline.engine.core.people import PEOPLE_FACTS
from meshline.engine.core.reducer import fold, pass_over
from meshline.engine.core.state import ENDED, PartitionState
from meshline.engine.core.transitions import never
from meshline.events import facts
from meshline.events.codec import decode, glance
from meshline.events.envelope import Event
from meshline.events.errors import EventUnreadable
from meshline.events.ids import partition_of, payload_hash_of, run_id_of
from meshline.events.log.protocol import LogRecord
from meshline.events.requests import TriggerReceived
from meshline.events.story import sentence
from meshline.events.violations import Violation, violation
from meshline.workflow.registry import Registry

__all__ = ["Auditor"]

_WITHOUT_RUN = (
    facts.TriggerRejected,
    facts.TriggerDeduplicated,
    facts.RequestRejected,
    facts.ParkedEventRetried,
    facts.ParkedEventSkipped,
    facts.CauseResolved,
    facts.CauseReopened,
    facts.AccessChanged,
    *PEOPLE_FACTS,
)
_OF_NO_RUN = (facts.PartitionClaimed, facts.WorkflowRegistered, facts.LogCreated)
_OF_ENDED = (facts.ExceptionOpened, facts.RunNoted)
_ANSWERED_MAX = 1_000
"""Requests answered last: several facts may answer one, and they stand close together."""


class Auditor:
    """Reads one partition, record by record, and holds each fact against the rules.

    Args:
        registry: the definitions; None: only what can be said without them.
        partitions: of the log; where it is not given, runs may stand in any.
    """

    def __init__(
        self, registry: Registry | None, partition: int = 0, *, partitions: int | None = None
    ) -> None:
        self.state = PartitionState(partition)
        self.noted: dict[str, Noted] = {}
        self._registry = registry
        self._partitions = partitions
        self._answered: OrderedDict[str, None] = OrderedDict()
        self._epochs: set[int] = set()
        self._gap: int | None = None
        self._gap_is_bad = False

    def read(self, record: LogRecord) -> list[Violation]:
        """Take in the next record, and return what is wrong with it.

        Raises:
            EventVersionUnknown: it is newer than this program, which so can't tell what follows.
        """
        try:
            event = decode(record.value)
        except EventUnreadable as error:
            pass_over(self.state, record.value, record.offset)
            return [self._unreadable(record, error)]
        return [self._violation(event, record.offset, wrong) for wrong in self._read(event, record)]

    def _read(self, event: Event[Any], record: LogRecord) -> list[Wrong]:
        state, offset = self.state, record.offset
        counts = replace(state.fence).admits(event, offset)
        found: list[Wrong] = []
        if type(event.data) is facts.PartitionClaimed:
            self._gap = None
            self._epochs.add(offset)
        elif not counts:
            found += self._void(event, offset)
        elif isinstance(event.data, facts.Fact) and not isinstance(event.data, _OF_NO_RUN):
            found += self._check(event, offset)
        try:
            fold(state, event, offset)
        except Exception as error:
            found.append(Wrong("fold_failed", f"a fact that applies, not {error!r}"))
        if counts and event.epoch is not None:
            self._note(event, offset)
        return found

    def _note(self, event: Event[Any], offset: int) -> None:
        noted = self.noted.get(event.subject)
        if event.subject not in self.state.runs:
            self.noted.pop(event.subject, None)
        elif noted is None:
            self.noted[event.subject] = Noted(event.recorded_at, offset)
        else:
            noted.at, noted.offset = event.recorded_at, offset

    def _void(self, event: Event[Any], offset: int) -> Iterator[Wrong]:
        """What is void should have a reason: a newer claim, a repeat, or one lost before it."""
        state = self.state
        if event.epoch is None or event.epoch not in self._epochs:
            if event.epoch is not None:
                self._epochs.add(event.epoch)
            yield Wrong("epoch_unknown", "an epoch that a claim before it began")
            return
        ahead = event.sequence is not None and event.sequence > state.fence.sequence + 1
        if event.epoch != state.fence.epoch or not ahead:
            return
        if self._gap is None:
            self._gap, self._gap_is_bad = offset, False
            yield Wrong("facts_overtook", f"number {state.fence.sequence + 1} of its epoch")
        elif event.causation_id is not None and not self._gap_is_bad:
            # It had read the request, and so the fact of its own before it that does not count.
            cause = event.causation_id.rpartition(":")[2]
            if cause.isdecimal() and int(cause) > self._gap:
                self._gap_is_bad = True
                yield Wrong(
                    "facts_lost",
                    f"number {state.fence.sequence + 1} of its epoch before {self._gap}, from "
                    "which its keeper went on",
                )

    # -- facts that count ----------------------------------------------------------------------

    def _check(self, event: Event[Any], offset: int) -> Iterator[Wrong]:
        data, kind, run_id, state = event.data, type(event.data), event.subject, self.state
        if event.causation_id is not None:
            yield from self._check_answer(event.causation_id)
        if kind is facts.TriggerAccepted:
            yield from self._check_accepted(event)
        elif kind in PEOPLE_FACTS:
            yield from self._check_people(data)
        elif isinstance(data, facts.CauseResolved | facts.CauseReopened):
            is_said = event.actor is not None and bool(data.reason.strip())
            if not is_said or getattr(data, "in_version", 1) < 1:
                yield Wrong("fact_out_of_turn", "somebody to say so, of a version, and why")
        run = state.runs.get(run_id)
        if run is None:
            ended = state.ended.get(run_id)
            if kind is facts.TriggerAccepted or isinstance(data, _WITHOUT_RUN):
                return
            if ended is None:
                yield Wrong("fact_without_run", "a run that this is about")
            elif kind not in _OF_ENDED:
                yield Wrong("fact_after_end", f"no more of a {ended.status} run")
            return
        if never(run.status, kind):
            code = "fact_after_end" if run.status in ENDED else "fact_out_of_turn"
            if kind is not facts.TriggerAccepted:
                yield Wrong(code, f"another fact of a {run.status} run")
        noted = self.noted.setdefault(run_id, Noted(event.recorded_at, offset))
        request = state.pending.get(event.causation_id or "")
        case = Case(event, run, noted, state.people, None if request is None else request.data)
        rule = RULES.get(kind)
        if rule is not None:
            yield from rule(case, data)
        defined = DEFINED.get(kind)
        if defined is not None and self._registry is not None:
            spec = self._registry.spec(run.workflow, run.version)
            if spec is not None:
                yield from defined(case, data, spec)

    def _check_answer(self, cause: str) -> Iterator[Wrong]:
        # One request may be answered by several facts; no answer comes without its request.
        answered = self._answered
        if cause not in self.state.pending and cause not in answered:
            yield Wrong("answer_without_request", f"a request that it answers, at {cause}")
        answered[cause] = None
        if len(answered) > _ANSWERED_MAX:
            answered.popitem(last=False)

    def _check_people(self, data: Any) -> Iterator[Wrong]:
        people = self.state.people
        if isinstance(data, facts.DirectoryChanged):
            before = people.number, people.directory_hash
            if (data.number, data.directory_hash) <= before:
                yield Wrong("fact_out_of_turn", f"a directory after number {before[0]}")
        else:
            known = people.absence_of(data.user)
            if known is not None and data.requested_at < known.requested_at:
                yield Wrong("fact_out_of_turn", f"what was asked since {known.requested_at}")

    def _check_accepted(self, event: Event[Any]) -> Iterator[Wrong]:
        data, state, run_id = event.data, self.state, event.subject
        if run_id in state.runs or run_id in state.ended:
            yield Wrong("run_begun_twice", "one run for each trigger")
        if self._partitions is not None:
            right = run_id_of(data.source, data.trigger_id)
            if run_id != right:
                yield Wrong("run_id_wrong", f"the run {right}, which follows from the trigger")
            elif partition_of(run_id, self._partitions) != state.partition:
                right = f"partition {partition_of(run_id, self._partitions)}"
                yield Wrong("run_id_wrong", f"{right}, which follows from the run")
        request = None if event.causation_id is None else state.pending.get(event.causation_id)
        if request is not None and isinstance(request.data, TriggerReceived):
            hashed = payload_hash_of(request.data.payload)
            if hashed != data.payload_hash:
                yield Wrong(
                    "payload_changed",
                    f"a payload with the hash {data.payload_hash} at {event.causation_id}, not "
                    f"{hashed}",
                )

    # -- in words ------------------------------------------------------------------------------

    def _violation(self, event: Event[Any], offset: int, wrong: Wrong) -> Violation:
        found = (
            f"{type(event.data).__name__}: {sentence(event, values=False)}; at {event.time}, epoch "
            f"{event.epoch}, number {event.sequence}"
        )
        partition, about = self.state.partition, event.subject
        return violation(
            wrong.code, wrong.expected, found, partition=partition, offset=offset, about=about
        )

    def _unreadable(self, record: LogRecord, error: EventUnreadable) -> Violation:
        seen = glance(record.value)
        is_ours = seen.epoch is not None or seen.is_claim
        return violation(
            "fact_unreadable" if is_ours else "record_unreadable",
            "an event",
            error.message[:400],
            partition=record.partition,
            offset=record.offset,
            about=record.key,
        )

    def at_rest(
        self, now: datetime, patience_s: float, under_way: Callable[[str, str, int], bool]
    ) -> Iterator[Violation]:
        """Yield what does not hold now that nothing more comes: who waits for nobody.

        See ``find_problems`` for the arguments.
        """
        yield from self._definitions()
        then = now - timedelta(seconds=patience_s)
        for problem in find_problems(
            self.state, self._registry, now, patience_s=patience_s, under_way=under_way
        ):
            noted = self.noted.get(problem.run_id)
            if problem.cause is None and noted is not None and noted.at > then:
                continue
            offset = None if noted is None else noted.offset
            if problem.cause is not None:
                offset = int(problem.cause.rpartition(":")[2])
            yield violation(
                "run_stuck" if problem.cause is None else "request_unanswered",
                "that it has ended, or that something or somebody will move it"
                if problem.cause is None
                else f"an answer within {patience_s:g} s",
                problem.text,
                partition=self.state.partition,
                offset=offset,
                about=problem.run_id,
            )

    def _definitions(self) -> Iterator[Violation]:
        for spec in self._registry or ():
            known = self.state.registered.get((spec.name, spec.version), spec.spec_hash)
            if known != spec.spec_hash:
                yield violation(
                    "definition_differs",
                    f"the definition {known}, as the log knows it",
                    spec.spec_hash,
                    about=f"{spec.name} version {spec.version}",
                )
