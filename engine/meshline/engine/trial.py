"""One try of one step: what it is, and the values that it is called with."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from meshline.engine.core.items import items_in, step_of
from meshline.engine.core.plan import ItemStep
from meshline.engine.core.rules import value_of
from meshline.engine.core.state import UNDO, RunState
from meshline.engine.step_threads import ThreadCall
from meshline.events.secrets import texts_of
from meshline.workflow.context import StepContext
from meshline.workflow.secret import secrets_in
from meshline.workflow.spec import StepNode

__all__ = ["Try"]

TEXT_LENGTH_MIN = 4
"""A secret that is shorter is not looked for in words."""


class Try:
    """A try, from the moment that it may begin until its outcome.

    Values are taken from the run when the try is made; the run may change afterwards.
    """

    __slots__ = (
        "attempt",
        "began_at",
        "called",
        "expiry",
        "heartbeat_at",
        "in_call",
        "kept_loop_s",
        "key",
        "node",
        "run_id",
        "task",
        "thread_call",
        "values",
        "version",
        "watch",
        "workflow",
    )

    def __init__(self, run: RunState, node: StepNode, attempt: int) -> None:
        self.run_id = run.run_id
        self.workflow = run.workflow
        self.version = run.version
        self.node = node
        self.attempt = attempt
        self.key = (run.run_id, node.name, attempt)
        self.values = {
            parameter.name: value_of(run, parameter.name)
            for parameter in node.parameters
            if not parameter.special
        }
        if node.name.startswith(UNDO):
            # A compensation may ask for the result of the step that it undoes.
            self.values["result"] = value_of(run, node.name.removeprefix(UNDO))
        elif isinstance(node, ItemStep):
            assert node.each is not None
            self.values["index"] = b"%d" % node.index
            self.values["item"] = value_of(run, node.each.node)
        self.task: asyncio.Task[None] | None = None
        self.expiry: asyncio.TimerHandle | None = None
        self.watch: asyncio.TimerHandle | None = None
        self.began_at = 0.0
        self.heartbeat_at = 0.0
        self.kept_loop_s = 0.0
        self.called = False
        self.in_call = False
        self.thread_call: ThreadCall | None = None

    @property
    def step_key(self) -> tuple[str, int, str]:
        return (self.workflow, self.version, step_of(self.node.name))

    @property
    def idempotency_key(self) -> str:
        """The same for every try of this step in this run."""
        return f"{self.run_id}/{self.node.name}"

    def secret_texts(self) -> set[str]:
        """Return what is secret of the values that the step takes, as texts that would stand out.

        Shorter ones are not among them: they stand in many words that have nothing to do with it.
        """
        places = {each.name: each.secrets for each in self.node.parameters}
        if isinstance(self.node, ItemStep) and self.node.each is not None:
            # The item is taken out of the whole list.
            places["item"] = secrets_in(self.node.each.value)
        found = set[str]()
        for name, secrets in places.items():
            if secrets and (raw := self.values.get(name)):
                found |= texts_of(orjson.loads(raw), secrets)
        return {text for text in found if len(text) >= TEXT_LENGTH_MIN}

    def arguments(self, context: StepContext) -> dict[str, Any]:
        """Return what the step's function is called with.

        Raises:
            ValidationError: a value does not fit the declared type.
        """
        arguments: dict[str, Any] = {}
        for parameter in self.node.parameters:
            if parameter.special and parameter.name not in self.values:
                arguments[parameter.name] = (
                    context if parameter.name == "ctx" else self.idempotency_key
                )
                continue
            raw = self._item() if parameter.name == "item" else self.values[parameter.name]
            arguments[parameter.name] = (
                None if raw is None else parameter.adapter.validate_json(raw)
            )
        self.called = True
        return arguments

    def _item(self) -> bytes:
        """Take it out of the list only now: if that fails, the try has failed."""
        assert isinstance(self.node, ItemStep)
        assert self.node.each is not None
        return items_in(self.values["item"] or b"null", self.node.each)[self.node.index]
