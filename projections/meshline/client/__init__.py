"""A client of the HTTP API, for programs: publish, look, wait and act."""

from __future__ import annotations

from meshline.client.client import Meshline
from meshline.client.connection import Connection, ServerRefused, ServerUnreachable
from meshline.client.remote_admissions import RemoteAdmissions
from meshline.client.remote_bulks import RemoteBulks
from meshline.client.remote_publisher import RemotePublisher
from meshline.client.remote_views import RemoteViews

__all__ = [
    "Connection",
    "Meshline",
    "RemoteAdmissions",
    "RemoteBulks",
    "RemotePublisher",
    "RemoteViews",
    "ServerRefused",
    "ServerUnreachable",
]
