"""Whether this server is well: an application of its own, for probes, on a port of its own.

Probes come by address and not by name, and have no key. So what they see tells nothing, and stands
apart from what people and programs reach.
"""

from __future__ import annotations

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from meshline.api.desk import Services
from meshline.api.problems import problem
from meshline.events.errors import MeshlineError

__all__ = ["create_health"]


def create_health(services: Services) -> FastAPI:
    """Return the application with ``/livez`` and ``/readyz``, and nothing else."""
    health = FastAPI(openapi_url=None)

    @health.get("/livez")
    async def livez() -> dict[str, str]:
        """This process answers."""
        return {"status": "ok"}

    @health.get("/readyz")
    async def readyz() -> JSONResponse:
        """Log and views answer too."""
        try:
            await services.log.ends()
            await services.views.status()
        except MeshlineError as error:
            # Open to all: the error's code and no address.
            return problem(503, error.code, "The log or the views do not answer.")
        return JSONResponse({"status": "ok"})

    return health
