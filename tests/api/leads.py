"""A form that is enriched, routed, approved and filed; its directory fails where it is told to."""

from __future__ import annotations

from pydantic import BaseModel, Field

from meshline.workflow import Approval, Retry, Workflow

__all__ = ["SOURCE", "leads"]

SOURCE = "web.forms"


class Form(BaseModel):
    email: str
    company: str = Field(min_length=1)
    employees: int


class Filed(BaseModel):
    crm_id: str


leads = Workflow(
    "leads",
    version=1,
    trigger=Form,
    source=SOURCE,
    owner="team:revops",
    exceptions="queue:triage",
    outcome=Filed,
    due="2d",
)


@leads.step(retry=Retry(attempts=1))
async def enrich(trigger: Form) -> str:
    if trigger.company == "Nobody":
        raise LookupError("no entry for 'Nobody'")
    return f"{trigger.company} Ltd"


@leads.assign
def route(trigger: Form) -> str:
    return "team:enterprise" if trigger.employees > 500 else "team:smb"


big_deal = leads.approval(
    "big_deal", when=lambda trigger: trigger.employees > 500, by="role:sales-lead", due="4h"
)


@leads.step
async def file_it(enrich: str, big_deal: Approval | None, idempotency_key: str) -> Filed:
    return Filed(crm_id=f"{enrich}-{idempotency_key[:4]}")
