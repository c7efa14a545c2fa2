"""How steps fare in a simulation: they take their time, fail, stand still, and die half way."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from pydantic import TypeAdapter

from meshline.testing.crowd import random_error
from meshline.testing.random_workflows import result_of
from meshline.testing.simulation.loop import line_here
from meshline.testing.simulation.world import Process, Violation, World
from meshline.workflow.context import StepContext
from meshline.workflow.outcomes import BusinessException, FailRun
from meshline.workflow.spec import Compensation, Node, Parameter, StepNode, WorkflowSpec

__all__ = ["SimulatedFault", "Steps"]

_CONTEXT = Parameter("ctx", TypeAdapter(Any), special=True)
_DAWDLING_S = 90.0


class SimulatedFault(Exception):
    """What a step raises when the simulation lets it fail; it may be tried again."""


class Unavailable(Exception):
    """Passes."""


class Hopeless(Exception):
    """Does not pass: made-up workflows declare it so."""


class Steps:
    """Wraps the steps of definitions.

    Args:
        may_begin: tells whether the log says that this try has begun.
        made_up: the steps are not called: results and errors are drawn.
    """

    def __init__(
        self, world: World, may_begin: Callable[[tuple[str, str, int]], bool], *, made_up: bool
    ) -> None:
        self.begun: Counter[tuple[str, str, int]] = Counter()
        self.ended: Counter[tuple[str, str, int]] = Counter()
        self._done: set[tuple[str, str]] = set()
        self._world = world
        self._may_begin = may_begin
        self._made_up = made_up
        self._dice = world.random("steps")

    def wrapped(self, spec: WorkflowSpec) -> WorkflowSpec:
        """Return the same definition, with steps that the simulation can let fail."""
        nodes: Mapping[str, Node] = {
            name: self._wrapped(node) if isinstance(node, StepNode) else node
            for name, node in spec.nodes.items()
        }
        return replace(spec, nodes=nodes)

    def _wrapped(self, node: StepNode) -> StepNode:
        if node.outside or node.call is None:
            return node
        undo = node.compensation
        if undo is not None:
            wanted = {parameter.name for parameter in undo.parameters}
            undo = Compensation(
                undo.name,
                undo.parameters if "ctx" in wanted else (*undo.parameters, _CONTEXT),
                self._call(undo.call, undo.is_async, "ctx" in wanted, is_undo=True),
                True,
            )
        has_context = any(parameter.name == "ctx" for parameter in node.parameters)
        wrapped = replace(
            node,
            parameters=node.parameters if has_context else (*node.parameters, _CONTEXT),
            call=self._call(node.call, node.is_async, has_context),
            is_async=True,
            compensation=undo,
        )
        if not self._made_up:
            return wrapped
        in_thread = self._dice.random() < 0.2
        return replace(
            wrapped,
            start_to_close_s=self._dice.choice([5.0, 60.0]),
            heartbeat_s=self._dice.choice([None, None, 3.0]),
            concurrency_max=self._dice.choice([None, None, 1]),
            is_async=not in_thread,
            call=self._plain if in_thread else wrapped.call,
        )

    def _call(
        self, call: Callable[..., Any], is_async: bool, has_context: bool, is_undo: bool = False
    ) -> Callable[..., Any]:
        async def simulated(**arguments: Any) -> Any:
            ctx: StepContext = arguments["ctx"] if has_context else arguments.pop("ctx")
            process, dice = self._begin(ctx)
            await process.passes("step:begun")
            await self._pass_time(ctx, process, dice)
            if self._made_up:
                result = None if is_undo else self._made(ctx, dice)
            else:
                result = await self._called(call, is_async, arguments, process, dice)
            await process.passes("step:done")
            self._end(ctx)
            return result

        return simulated

    def _plain(self, **arguments: Any) -> Any:
        """A step that is no coroutine: it runs in a thread, elsewhere."""
        ctx: StepContext = arguments["ctx"]
        _, dice = self._begin(ctx)
        result = self._made(ctx, dice)
        self._end(ctx)
        return result

    def _begin(self, ctx: StepContext) -> tuple[Process, Random]:
        key = _key(ctx)
        self.begun[key] += 1
        process = self._world.processes[line_here().name]
        if not self._may_begin(key):
            error = Violation(
                f"{process.name} carries out {ctx.step!r} attempt {ctx.attempt} of run "
                f"{ctx.run_id}, and the log does not say that it has started"
            )
            self._world.fail(error)
        if key[:2] in self._done:
            self._world.strike("step_done_again", process.name)
        return process, self._dice

    def _end(self, ctx: StepContext) -> None:
        key = _key(ctx)
        self.ended[key] += 1
        self._done.add(key[:2])

    async def _pass_time(self, ctx: StepContext, process: Process, dice: Random) -> None:
        dawdles = not self._world.is_healed and (
            dice.random() < self._world.plan.rate("step_dawdles")
        )
        if dawdles:
            self._world.strike("step_dawdles", process.name)
        left_s = dice.random() ** 3 * (_DAWDLING_S if dawdles else 4.0)
        beats = dice.random() < 0.7
        while left_s > 0:
            await asyncio.sleep(min(left_s, 1.5))
            left_s -= 1.5
            if beats:
                ctx.heartbeat()

    def _fails(self, dice: Random) -> bool:
        rate = 0.05 if self._world.is_healed else self._world.plan.rate("step_fails")
        return dice.random() < rate

    def _made(self, ctx: StepContext, dice: Random) -> Any:
        if self._fails(dice):
            self._world.strike("step_fails", line_here().name)
            error = random_error(dice)
            if error.business is not None:
                raise BusinessException(**{**dict(error.business), "message": error.message})
            kinds = {"Unavailable": Unavailable, "Hopeless": Hopeless, "FailRun": FailRun}
            raised = kinds[error.type](error.message)
            raised.retry_after_s = error.retry_after_s  # type: ignore[attr-defined]
            raise raised
        if ctx.step.startswith("undo:"):
            return None
        return result_of(ctx.step, dice.randint(0, 9))

    async def _called(
        self,
        call: Callable[..., Any],
        is_async: bool,
        arguments: dict[str, Any],
        process: Process,
        dice: Random,
    ) -> Any:
        """Call the author's step; it may fail before, or its result be lost behind it."""
        fails = not self._world.is_healed and self._fails(dice)
        if fails:
            self._world.strike("step_fails", process.name)
            if dice.random() < 0.5:
                raise SimulatedFault("simulated: before the step did anything")
        result = await call(**arguments) if is_async else call(**arguments)
        if fails:
            raise SimulatedFault("simulated: the step was done, and its answer was lost")
        return result


def _key(ctx: StepContext) -> tuple[str, str, int]:
    return (ctx.run_id, ctx.step, ctx.attempt)
