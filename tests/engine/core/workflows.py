"""Small workflows for the tests of the core, each written once."""

from __future__ import annotations

from pydantic import BaseModel

from meshline.workflow import Workflow

__all__ = ["Done", "Order", "new_workflow"]


class Order(BaseModel):
    number: int = 1


class Done(BaseModel):
    number: int


def new_workflow(name: str = "orders", **changed: object) -> Workflow:
    """Return a workflow with the five answers and no steps."""
    given: dict[str, object] = {
        "version": 1,
        "trigger": Order,
        "source": f"shop.{name}",
        "owner": "team:orders",
        "exceptions": "queue:triage",
        "outcome": Done,
    }
    return Workflow(name, **(given | changed))  # type: ignore[arg-type]
