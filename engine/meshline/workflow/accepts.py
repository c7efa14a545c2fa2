"""Whether a parameter's type takes what a node returns.

Values travel as JSON and are read into the parameter's type, so this asks what a careful reader
would: a wrong class is a mistake, an untyped value (``Any``, ``dict``) may become anything.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NewType, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel

__all__ = ["MISSING", "accepts", "type_text", "without_none"]


class _Missing:
    def __repr__(self) -> str:
        return "nothing"


MISSING: Any = _Missing()
"""No annotation was written."""

_NUMBERS: dict[type, tuple[type, ...]] = {float: (int,), complex: (int, float)}


def arms(annotation: Any) -> tuple[Any, ...]:
    """Return the alternatives of a union, or the annotation itself; ``Annotated`` is taken off."""
    annotation = _bare(annotation)
    if get_origin(annotation) in (Union, types.UnionType):
        return tuple(arm for part in get_args(annotation) for arm in arms(part))
    return (annotation,)


def without_none(annotation: Any) -> tuple[Any, bool]:
    """Return the annotation without its ``None``, and whether it had one."""
    parts = (annotation,)
    if get_origin(bare := _bare(annotation)) in (Union, types.UnionType):
        parts = get_args(bare)
    kept = tuple(part for part in parts if part not in (None, types.NoneType))
    if len(kept) == len(parts) or not kept:
        return annotation, len(kept) != len(parts)
    return Union[kept], True  # noqa: UP007 - made at run time


def accepts(parameter: Any, returned: Any) -> bool:
    """Whether a value of type ``returned`` can be handed to ``parameter``; in doubt, yes."""
    if any(_anything(arm) for arm in (*arms(parameter), *arms(returned))):
        return True
    return all(
        any(_arm_accepts(taken, given) for taken in arms(parameter)) for given in arms(returned)
    )


def _bare(annotation: Any) -> Any:
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif hasattr(annotation, "__value__"):  # type X = …
            annotation = annotation.__value__
        else:
            return types.NoneType if annotation is None else annotation


def _anything(annotation: Any) -> bool:
    return annotation in (Any, object, MISSING) or isinstance(annotation, TypeVar)


def _arm_accepts(taken: Any, given: Any) -> bool:
    if taken == given:
        return True
    if get_origin(taken) is Literal or get_origin(given) is Literal:
        return _literal_accepts(taken, given)
    taken_class, given_class = get_origin(taken) or taken, get_origin(given) or given
    if not isinstance(taken_class, type) or not isinstance(given_class, type):
        return True
    if _record(taken_class) and _mapping(given_class):
        return True
    if _mapping(taken_class) and _record(given_class):
        return True
    if not _subclass(given_class, taken_class):
        return False
    return _arguments_accept(get_args(taken), get_args(given))


def _literal_accepts(taken: Any, given: Any) -> bool:
    if get_origin(given) is not Literal:
        return False
    if get_origin(taken) is Literal:
        return set(get_args(given)) <= set(get_args(taken))
    return all(_arm_accepts(taken, type(value)) for value in get_args(given))


def _arguments_accept(taken: tuple[Any, ...], given: tuple[Any, ...]) -> bool:
    if len(taken) != len(given):
        return True
    return all(
        accepts(a, b)
        for a, b in zip(taken, given, strict=True)
        if a is not Ellipsis and b is not Ellipsis
    )


def _subclass(given: type, taken: type) -> bool:
    try:
        return issubclass(given, taken) or given in _NUMBERS.get(taken, ())
    except TypeError:  # a protocol with data members, a TypedDict: read when it is handed over
        return True


def _record(candidate: type) -> bool:
    return issubclass(candidate, BaseModel) or hasattr(candidate, "__dataclass_fields__")


def _mapping(candidate: type) -> bool:
    return issubclass(candidate, Mapping)


def type_text(annotation: Any) -> str:
    """Return the type as an author would write it, without modules."""
    if annotation is MISSING:
        return "Any"
    if annotation in (None, types.NoneType):
        return "None"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_text(arguments[0])
    if origin in (Union, types.UnionType):
        return " | ".join(type_text(argument) for argument in arguments)
    if origin is Literal:
        return f"Literal[{', '.join(repr(value) for value in arguments)}]"
    if annotation is Ellipsis:
        return "..."
    name = getattr(origin or annotation, "__name__", None) or str(annotation)
    if origin is None or not arguments:
        return str(name)
    return f"{name}[{', '.join(type_text(argument) for argument in arguments)}]"
