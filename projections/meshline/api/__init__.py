"""The HTTP API: what the command line does, for programs and for the console."""

from __future__ import annotations

from meshline.api.app import create_api
from meshline.api.desk import Services
from meshline.api.guard import ApiSettings
from meshline.api.health import create_health

__all__ = ["ApiSettings", "Services", "create_api", "create_health"]
