"""Publishing: append triggers and other requests to the log, and hear what became of them."""

from __future__ import annotations

from meshline.events.publish.answer import Answer, RequestAnswer, Trigger
from meshline.events.publish.blocking import BlockingPublisher
from meshline.events.publish.publisher import Publisher
from meshline.events.publish.settings import PublisherSettings

__all__ = [
    "Answer",
    "BlockingPublisher",
    "Publisher",
    "PublisherSettings",
    "RequestAnswer",
    "Trigger",
]
