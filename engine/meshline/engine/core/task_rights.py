"""Who may do what with work for people: those who were asked, less those who may not."""

from __future__ import annotations

from typing import Any, NamedTuple

from meshline.engine.core.decision import Decision, Moment
from meshline.engine.core.replies import refuse, say
from meshline.engine.core.state import NodeState, TaskState
from meshline.engine.core.tasks import candidates_of
from meshline.events import facts
from meshline.events.envelope import Event
from meshline.events.people import People, Right
from meshline.workflow.spec import ApprovalNode, TaskNode

__all__ = ["Asked", "right_to_claim", "right_to_decide"]


class Asked(NamedTuple):
    """Work for people that is open, and somebody who wants something about it."""

    node: TaskNode
    state: NodeState
    request: Event[Any]
    cause: str
    moment: Moment

    @property
    def task(self) -> TaskState:
        return self.state.task or TaskState()

    @property
    def actor(self) -> str:
        assert self.request.actor is not None, "who asks in nobody's name is refused before"
        return self.request.actor.id

    @property
    def people(self) -> People:
        return self.moment.people

    @property
    def candidates(self) -> tuple[str, ...]:
        return candidates_of(self.node, self.state)

    @property
    def barred(self) -> str | None:
        """Who asks for it, and so may not decide; None: nobody.

        Who sent the trigger is known of every run; that it matters, a directory or a rule says.
        """
        has_rule = self.people.roster is not None or self.node.requester is not None
        return self.task.requester if has_rule else None

    @property
    def does(self) -> str:
        """What is done with it, as a verb."""
        return "decide" if isinstance(self.node, ApprovalNode) else "do it"

    def refused(self, code: str, reason: str) -> Decision:
        return refuse(self.request, self.cause, code, reason)

    def said(self, fact: facts.Fact) -> Decision:
        return say(self.request, self.cause, fact)


def right_to_decide(asked: Asked) -> Right | Decision:
    """Return by what right the actor decides, or the refusal."""
    task, actor = asked.task, asked.actor
    if len(task.votes) >= asked.node.of:
        reason = f"all {asked.node.of} who must approve have done so"
        return asked.refused("not_requested", reason)
    right = _right(asked)
    if isinstance(right, Decision):
        return right
    voted = {who for vote in task.votes for who in vote if who is not None}
    if not voted.isdisjoint({actor, right.on_behalf_of}):
        reason = f"{actor} has approved it already: {asked.node.of} different people must"
        return asked.refused("already_voted", reason)
    return right


def right_to_claim(asked: Asked) -> Right | Decision:
    """Return by what right the actor takes it, or the refusal."""
    if asked.node.of > 1:
        reason = f"{asked.node.of} different people must approve: nobody can take it alone"
        return asked.refused("several_decide", reason)
    if asked.task.assignee is not None:
        reason = f"{asked.task.assignee} has it already"
        return asked.refused("claimed", reason)
    return _right(asked)


def _right(asked: Asked) -> Right | Decision:
    task, actor, people = asked.task, asked.actor, asked.people
    right = people.right_of(actor, asked.candidates, asked.moment.now)
    may_have = right is not None
    if task.assignee is not None:
        # In their own name: what somebody takes as a substitute is had by who is away.
        may_have = people.through(task.assignee, asked.candidates) is not None
    if not may_have:
        reason = (
            f"only {people.named(asked.candidates)} may {asked.does}, and "
            f"{task.assignee or actor} is none of them"
        )
        return asked.refused("not_allowed", reason)
    if task.assignee is not None:
        right = _in_place_of(asked, task.assignee)
        if right is None:
            may = " or ".join(each for each in (task.assignee, task.delegate) if each)
            reason = f"{task.assignee} has it: only {may} may {asked.does}, and {actor} asked"
            return asked.refused("claimed", reason)
    assert right is not None
    if asked.barred is not None and asked.barred in (actor, right.on_behalf_of):
        reason = f"{asked.barred} asks for it, and another must decide"
        return asked.refused("own_request", reason)
    return right


def _in_place_of(asked: Asked, assignee: str) -> Right | None:
    """Return by what right the actor decides what is the assignee's."""
    if asked.actor == asked.task.delegate:
        return Right(assignee)
    return asked.people.right_of(asked.actor, (assignee,), asked.moment.now)
