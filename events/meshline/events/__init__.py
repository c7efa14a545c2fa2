"""What was said: the vocabulary of events, their codec, and the log that keeps them.

What most programs need of this room is here: ``from meshline.events import Publisher``. It is
loaded when it is first asked for, since reading facts needs no publisher.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshline.events.publish import (
        Answer,
        BlockingPublisher,
        Publisher,
        PublisherSettings,
        RequestAnswer,
        Trigger,
    )

__all__ = [
    "Answer",
    "BlockingPublisher",
    "Publisher",
    "PublisherSettings",
    "RequestAnswer",
    "Trigger",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from meshline.events import publish

        return getattr(publish, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
