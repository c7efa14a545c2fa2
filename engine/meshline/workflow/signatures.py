"""What a function of a workflow asks for: its parameters and their types, read once."""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from meshline.workflow.accepts import MISSING, type_text, without_none
from meshline.workflow.errors import refuse
from meshline.workflow.secret import check_secrets

__all__ = ["Asked", "Signature", "adapter_of", "locals_of_caller", "read_signature", "where_of"]

LAMBDA = "<lambda>"


@dataclass(frozen=True, slots=True)
class Asked:
    """A parameter; ``annotation`` is without its ``None``, which ``optional`` stands for."""

    name: str
    annotation: Any
    optional: bool


@dataclass(slots=True)
class Signature:
    """A function of the workflow as it was written.

    Args:
        label: how messages call it: ``step 'enrich' (leads.py:31)``.
        scope: names that string annotations may use besides the module's.
    """

    function: Callable[..., Any]
    name: str
    label: str
    is_async: bool
    scope: Mapping[str, Any]
    _hints: dict[str, Any] | None = field(default=None)

    @property
    def parameters(self) -> tuple[Asked, ...]:
        return tuple(
            self._asked(parameter)
            for parameter in inspect.signature(self.function).parameters.values()
        )

    @property
    def returns(self) -> Any:
        """The return annotation; ``MISSING`` where there is none."""
        return self.hints().get("return", MISSING)

    def hints(self) -> dict[str, Any]:
        if self._hints is None:
            try:
                self._hints = self._read_hints()
            except NameError as error:
                raise refuse(
                    "type",
                    f"An annotation of {self.label} names {error.name!r}, which is not defined",
                    expected="names of the module, or of the function around it",
                    do="Define or import it before the workflow is used (not only under "
                    "TYPE_CHECKING).",
                ) from error
        return self._hints

    def try_hints(self) -> None:
        """Read the annotations now if they can be: the names may be gone later, or not yet here."""
        try:
            self._hints = self._read_hints()
        except NameError:
            self._hints = None

    def _read_hints(self) -> dict[str, Any]:
        return typing.get_type_hints(self.function, localns=dict(self.scope), include_extras=True)

    def _asked(self, parameter: inspect.Parameter) -> Asked:
        annotation = self.hints().get(parameter.name, MISSING)
        annotation, has_none = without_none(annotation)
        return Asked(parameter.name, annotation, has_none or parameter.default is None)


def where_of(function: Callable[..., Any] | type) -> str:
    """Return ``file.py:line``, or nothing where that is not known."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f" ({Path(code.co_filename).name}:{code.co_firstlineno})" if code else ""


def locals_of_caller(depth: int) -> Mapping[str, Any]:
    """Return a copy of the caller's local names; none where these are the module's own.

    Args:
        depth: 1 for the caller of the function that calls this.
    """
    frame = sys._getframe(depth + 1)
    return {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)


def read_signature(
    function: Callable[..., Any], role: str, name: str | None, scope: Mapping[str, Any]
) -> Signature:
    """Read a function, and refuse one that cannot be called by names alone.

    Args:
        role: what it is in the workflow: ``step``, ``owner rule``, ``condition of step 'notify'``.
        name: the node's name, where the function is a node.
    """
    if not (inspect.isfunction(function) or inspect.ismethod(function)):
        raise refuse(
            "function",
            f"The {role} is {function!r}",
            expected="a function",
            do="Write a function with `def` or `async def` and hand that in.",
        )
    label = f"{role}{f' {name!r}' if name else ''}{where_of(function)}"
    inner = inspect.unwrap(function)
    if inspect.isgeneratorfunction(inner) or inspect.isasyncgenfunction(inner):
        raise refuse(
            "function",
            f"The {label} is a generator",
            expected="a function that returns one value",
            do="Collect the values and `return` them as a list.",
        )
    for parameter in inspect.signature(function).parameters.values():
        _check_parameter(parameter, label, is_lambda=inner.__name__ == LAMBDA)
    is_async = inspect.iscoroutinefunction(function)
    signature = Signature(function, name or inner.__name__, label, is_async, scope)
    signature.try_hints()
    return signature


def _check_parameter(parameter: inspect.Parameter, label: str, *, is_lambda: bool) -> None:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise refuse(
            "function",
            f"The {label} takes {str(parameter).partition(':')[0]!r}",
            expected="one parameter for each value, because its name says which",
            do="Name the parameters after the nodes whose values it takes.",
        )
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise refuse(
            "function",
            f"The {label} takes {parameter.name!r} by position only",
            expected="parameters that can be given by name",
            do="Remove the `/`.",
        )
    if parameter.default is not parameter.empty and (is_lambda or parameter.default is not None):
        raise refuse(
            "function",
            f"The {label} has a default for {parameter.name!r}: {parameter.default!r}",
            expected="no default: values come from the run",
            do=f"Remove it. Where the node may have been skipped, write a `def` with "
            f"`{parameter.name}: X | None`, and decide inside what stands in for it.",
        )


def adapter_of(annotation: Any, what: str) -> TypeAdapter[Any]:
    """Return the reader of a type, made once; refuse what pydantic cannot read.

    Args:
        what: as the refusal calls it: ``parameter 'enrich' of step 'notify'``.
    """
    try:
        adapter = TypeAdapter(Any if annotation is MISSING else annotation)
    except Exception as error:  # pydantic raises many kinds here, its own and Python's
        raise refuse(
            "type",
            f"The {what} is of type {type_text(annotation)}, which cannot be read from JSON",
            expected="a pydantic model, a dataclass or another type that pydantic can validate",
            do=f"Use such a type, for example a BaseModel with the fields that matter. "
            f"(Pydantic says: {str(error).splitlines()[0]})",
        ) from error
    check_secrets(adapter, what)
    return adapter
