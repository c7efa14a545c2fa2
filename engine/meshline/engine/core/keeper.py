"""The keeper of one partition: the protocol of claiming, deciding and reading back, without I/O.

Records go in (``read``), entries to append come out (``propose``), and the answer to the append
goes in again (``appended``). Effects and the runs' states are there to be taken only when they are
certain: read back in the keeper's own epoch. The worker drives it with a real log and a real
clock, the simulation with made-up ones.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from meshline.engine.core.decision import Moment
from meshline.engine.core.draft import Draft, Outcome, Proposal
from meshline.engine.core.effects import Effect, effect_of
from meshline.engine.core.owners import is_concerned
from meshline.engine.core.people import PEOPLE_FACTS
from meshline.engine.core.reducer import apply, fold, keep, pass_over
from meshline.engine.core.state import REDUCER_VERSION, PartitionState, RunState
from meshline.engine.core.waits import next_wakeup
from meshline.events.codec import decode, encode
from meshline.events.envelope import Event
from meshline.events.errors import EventUnreadable
from meshline.events.facts import PartitionClaimed, WorkflowRegistered
from meshline.events.ids import causation_of
from meshline.events.log.protocol import Accepted, AppendResult, Entry, LogRecord
from meshline.events.requests import Request
from meshline.workflow.registry import Registry
from meshline.workflow.spec import WorkflowSpec

__all__ = ["Keeper", "KeeperLimits", "Outcome", "UnderWay"]


_OF_PARTITION = PEOPLE_FACTS | {WorkflowRegistered}
"""Facts that are about no run, and so are not in the runs as a proposal made them."""


class UnderWay:
    """The tries that this process is at; the worker fills it, and every keeper here reads it."""

    def __init__(self) -> None:
        self.tries: set[tuple[str, str, int]] = set()

    def __call__(self, run_id: str, step: str, attempt: int) -> bool:
        return (run_id, step, attempt) in self.tries


@dataclass(frozen=True, slots=True)
class KeeperLimits:
    """Args:
    proposal_bytes_max: one proposal stops growing here; it must fit one batch of the log.
    looked_at_max: things that one proposal may look at, so that the worker's loop goes on.
    requests_waiting_max: above it the keeper asks for no further records.
    """

    proposal_bytes_max: int = 400 * 1024
    looked_at_max: int = 2_000
    requests_waiting_max: int = 20_000


class Keeper:
    """Holds one partition for one worker.

    Args:
        state: where to go on from: empty, or a snapshot.
        registry: the definitions that this worker has.
        name: of the worker, for people.
        source: the CloudEvents source of this keeper's facts.
    """

    def __init__(
        self,
        state: PartitionState,
        registry: Registry,
        *,
        name: str,
        source: str,
        under_way: UnderWay | None = None,
        limits: KeeperLimits | None = None,
    ) -> None:
        self.state = state
        self.epoch: int | None = None
        """In which this keeper acts; None before its claim is read, and after another's."""
        self.unreadable_records = 0
        self._registry = registry
        self._name = name
        self._source = source
        self._under_way = under_way or UnderWay()
        self._limits = limits or KeeperLimits()
        self._claim: str | None = None
        self._proposal: Proposal | None = None
        self._requests: deque[str] = deque()
        self._outcomes: deque[Outcome] = deque()
        self._looked_at: dict[str, None] = {}
        self._wakeups: list[tuple[datetime, str]] = []
        self._effects: list[Effect] = []
        self._unregistered: deque[WorkflowSpec] = deque()
        self._draining = False
        self._is_unanswered = False
        self._has_acted = False

    # -- claiming ------------------------------------------------------------------------------

    def claim(self, nonce: str, now: datetime) -> Entry:
        """Return the claim to append; the keeper acts once it has read it back.

        Args:
            nonce: never used before, so that the keeper knows its own claim.
        """
        self._stand_down()
        self._claim = f"{self._name}#{nonce}"
        event = Event(
            id=nonce,
            source=self._source,
            subject="",
            time=now,
            data=PartitionClaimed(keeper=self._claim, reducer_version=REDUCER_VERSION),
            recorded_at=now,
        )
        return Entry("", encode(event))

    @property
    def is_active(self) -> bool:
        return self.epoch is not None

    @property
    def is_claiming(self) -> bool:
        return self._claim is not None and self.epoch is None

    @property
    def is_proposing(self) -> bool:
        """Whether a proposal is on its way: not read back yet, or its append not answered.

        One append at a time: the answer to an older one must never be taken for the newer's.
        """
        return self._proposal is not None or self._is_unanswered

    @property
    def wants_records(self) -> bool:
        # One that does not act must read on, whatever waits: its own claim stands behind it.
        return (
            not self.is_active
            or self.is_proposing
            or len(self._requests) < self._limits.requests_waiting_max
        )

    @property
    def has_work(self) -> bool:
        """Whether ``propose`` would look at something now."""
        return self.is_active and bool(
            self._outcomes
            or (not self._draining and (self._requests or self._looked_at or self._unregistered))
        )

    def give_way(self) -> None:
        """Stop acting, as if another had claimed; ``claim`` again settles what was under way.

        What tries gave and was not read back is kept, to be said after that claim.
        """
        self._stand_down()

    def forget_claim(self) -> None:
        """Take the last claim as not made: no answer came. If it comes after all, it is void."""
        if self.epoch is None:
            self._claim = None

    def drain(self) -> None:
        """Say from now on only what came of tries under way; begin nothing."""
        self._draining = True

    def replace_registry(self, registry: Registry) -> None:
        """Go on with other definitions, and look at what they make possible."""
        self._registry = registry
        self.registry_changed()

    def _stand_down(self) -> None:
        self._abandon_proposal()
        self.epoch = None
        self._claim = None
        self._effects.clear()

    def _abandon_proposal(self) -> None:
        """Forget what was proposed; what of it was read back already is so.

        What tries gave is kept, to be said again: else they would be done again.
        """
        proposal, self._proposal = self._proposal, None
        if proposal is not None:
            for event in proposal.events[: proposal.confirmed]:
                apply(self.state, event, runs_in_place=False)
            self._outcomes.extendleft(reversed(proposal.outcomes))

    def _take_over(self) -> None:
        """Begin to act: everything that is open is looked at once."""
        self._requests = deque(self.state.pending)
        self._reset_wakeups()
        self.registry_changed()

    def registry_changed(self) -> None:
        """Look at what the worker's definitions make possible now."""
        self._unregistered = deque(
            spec
            for spec in self._registry
            if self.state.registered.get((spec.name, spec.version)) != spec.spec_hash
        )
        if self.is_active:
            self._looked_at |= dict.fromkeys(self.state.runs)

    # -- reading -------------------------------------------------------------------------------

    def read(self, records: Sequence[LogRecord]) -> None:
        """Take in records, in the order of the log.

        Raises:
            EventVersionUnknown: the partition has facts of a newer version; this worker must not
                hold it.
        """
        for record in records:
            if record.offset < self.state.next_offset:
                continue
            proposal = self._proposal
            if proposal is not None and record.value == proposal.values[proposal.confirmed]:
                self._confirm(record.offset)
            else:
                self._read_other(record)

    def _read_other(self, record: LogRecord) -> None:
        try:
            event = decode(record.value)
        except EventUnreadable:
            # Somebody else's bytes concern no run; the views show them with their address.
            self.unreadable_records += 1
            if pass_over(self.state, record.value, record.offset) and self.is_active:
                # It took the number of what comes next from here.
                self._stand_down()
            return
        data = event.data
        if isinstance(data, PartitionClaimed):
            self._read_claim(data, event, record.offset)
            return
        # Of a keeper that has acted, a snapshot may be in the making.
        counts = fold(self.state, event, record.offset, runs_in_place=not self._has_acted)
        if isinstance(data, Request):
            if self.is_active:
                self._requests.append(causation_of(self.state.partition, record.offset))
        elif not counts and event.epoch == self.epoch and self._is_ahead(event):
            # A fact of this keeper's is here, but one before it is lost: nothing behind it counts.
            self._stand_down()

    def _is_ahead(self, event: Event[Any]) -> bool:
        return event.sequence is not None and event.sequence > self.state.fence.sequence

    def _read_claim(self, data: PartitionClaimed, event: Event[Any], offset: int) -> None:
        mine = self._claim is not None and data.keeper == self._claim
        if mine and self.epoch is not None:
            # The same claim twice: sent again after no answer came. The later one is the epoch.
            self._abandon_proposal()
        elif not mine and self.epoch is not None:
            self._stand_down()
        fold(self.state, event, offset)
        if mine:
            self.epoch = offset
            self._has_acted = True
            self._effects.clear()
            self._take_over()

    def _confirm(self, offset: int) -> None:
        proposal = self._proposal
        assert proposal is not None
        event = proposal.events[proposal.confirmed]
        counts = self.state.fence.admits(event, offset)
        assert counts, "a keeper's own proposal counts unless another claimed, and it read no claim"
        self.state.next_offset = offset + 1
        proposal.confirmed += 1
        if proposal.confirmed == len(proposal.events):
            self._complete(proposal)

    def _complete(self, proposal: Proposal) -> None:
        """All of the proposal is so: the runs are as it made them, and its effects may be had."""
        self._proposal = None
        state = self.state
        gone = state.people.gone
        for event in proposal.events:
            if event.causation_id is not None:
                state.pending.pop(event.causation_id, None)
            if type(event.data) in _OF_PARTITION:
                apply(state, event)
            effect = effect_of(event)
            if effect is not None:
                self._effects.append(effect)
        for run_id, run in proposal.runs.items():
            keep(state, run)
            self._set_wakeup(run_id, run)
        if state.people.gone != gone:
            # Who is gone, or back, changes what is to be said of runs that nothing came for.
            self._looked_at |= {
                run_id: None
                for run_id, run in state.runs.items()
                if is_concerned(run, state.people)
            }

    def take_effects(self) -> list[Effect]:
        """Return what is to be performed now, once."""
        effects, self._effects = self._effects, []
        return effects

    # -- deciding ------------------------------------------------------------------------------

    def outcome(self, outcome: Outcome) -> None:
        """Take in what a try gave."""
        self._outcomes.append(outcome)

    def _set_wakeup(self, run_id: str, run: RunState) -> None:
        at = next_wakeup(self._registry.spec(run.workflow, run.version), run)
        if at is not None:
            heapq.heappush(self._wakeups, (at, run_id))
        # Wake-ups that no longer hold stay in the heap until they are the larger part of it.
        if len(self._wakeups) > 2 * len(self.state.runs) + 1024:
            self._reset_wakeups()

    def _reset_wakeups(self) -> None:
        self._wakeups = []
        for run_id, run in self.state.runs.items():
            at = next_wakeup(self._registry.spec(run.workflow, run.version), run)
            if at is not None:
                self._wakeups.append((at, run_id))
        heapq.heapify(self._wakeups)

    def next_wakeup(self) -> datetime | None:
        """Return when ``propose`` has something to say though nothing came in."""
        return self._wakeups[0][0] if self._wakeups else None

    def propose(self, now: datetime) -> list[Entry]:
        """Return the facts to append now, as one batch; empty if there is nothing to say.

        Nothing is proposed while a proposal is on its way, or while the keeper does not hold the
        partition.
        """
        if self.epoch is None or self.is_proposing:
            return []
        while self._wakeups and self._wakeups[0][0] <= now:
            self._looked_at[heapq.heappop(self._wakeups)[1]] = None
        moment = Moment(now, self.epoch, self._is_at, self.state.people)
        draft = Draft(self.state, self._registry, self._source, moment)
        for _ in range(self._limits.looked_at_max):
            if draft.size_bytes >= self._limits.proposal_bytes_max or not self._draft_next(draft):
                break
        if not draft.proposal.events:
            return []
        self._proposal = draft.proposal
        self._is_unanswered = True
        return [
            Entry(event.subject, value)
            for event, value in zip(draft.proposal.events, draft.proposal.values, strict=True)
        ]

    def _is_at(self, run_id: str, step: str, attempt: int) -> bool:
        """Return whether this process is at the try, or has its outcome and not said it yet."""
        key = (run_id, step, attempt)
        return self._under_way(*key) or any(outcome[:3] == key for outcome in self._outcomes)

    def _draft_next(self, draft: Draft) -> bool:
        """Draft what one thing leads to; return False when there is nothing left to look at."""
        if self._outcomes:
            draft.outcome(self._outcomes.popleft(), goes_on=not self._draining)
        elif self._draining:
            return False
        elif self._unregistered:
            draft.register(self._unregistered.popleft())
        elif self._looked_at:
            # What is due, or was left half done, comes before what is asked.
            run_id = next(iter(self._looked_at))
            del self._looked_at[run_id]
            draft.gaps(run_id)
        elif self._requests:
            draft.request(self._requests.popleft())
        else:
            return False
        return True

    def appended(self, result: AppendResult) -> None:
        """Take in the log's answer to the last proposal.

        An accepted batch that follows directly on the last record read is as good as read back: no
        claim can lie between. Any other accepted one is waited for. Without an acceptance the
        keeper no longer holds the partition: claim again, and what is void is settled. If the
        proposal was read back before its answer came, or given up, the answer says nothing new.
        """
        self._is_unanswered = False
        proposal = self._proposal
        if proposal is None:
            return
        if not isinstance(result, Accepted):
            self._stand_down()
            return
        if proposal.confirmed == 0 and result.contiguous and result.first == self.state.next_offset:
            for offset in range(result.first, result.last + 1):
                self._confirm(offset)
