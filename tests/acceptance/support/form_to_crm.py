"""A form that becomes a customer in the next system: two systems outside, reached over HTTP.

Their address is in ``FORM_TO_CRM_SYSTEMS``; the test that runs this app is both of them.
"""

from __future__ import annotations

import os

import httpx
from pydantic import BaseModel, EmailStr, Field

from meshline.workflow import Approval, Retry, Workflow

SYSTEMS = os.environ.get("FORM_TO_CRM_SYSTEMS", "http://127.0.0.1:9")
REGIONS = {"SE": "emea", "DE": "emea", "US": "amer", "JP": "apac"}


class Form(BaseModel):
    email: EmailStr
    company: str = Field(min_length=1)
    urgent: bool = False


class Company(BaseModel):
    name: str
    country: str
    employees: int


class Created(BaseModel):
    crm_id: str


class NotListed(Exception):
    """The directory of companies says that there is no such one; it will say so again."""


onboarding = Workflow(
    "onboarding",
    version=1,
    trigger=Form,
    source="web.forms",
    owner="team:revops",
    exceptions="queue:revops-triage",
    outcome=Created,
    due="2d",
)


@onboarding.step(retry=Retry(attempts=3, initial="100ms", non_retryable=[NotListed]), timeout="5s")
async def enrich(trigger: Form) -> Company:
    """Look the company up."""
    async with httpx.AsyncClient(base_url=SYSTEMS) as companies:
        found = await companies.get("/companies", params={"name": trigger.company})
    if found.status_code == 404:
        raise NotListed(f"no entry for {trigger.company!r}")
    found.raise_for_status()
    return Company(**found.json())


@onboarding.assign
def route(enrich: Company) -> str:
    """The team of the company's region."""
    return f"team:{REGIONS.get(enrich.country, 'emea')}"


class Terms(BaseModel):
    discount_percent: int = Field(ge=0, le=40)


onboarding.approval(
    "terms",
    when=lambda trigger, enrich: enrich.employees > 500 and not trigger.urgent,
    by="role:sales-lead",
    due="4h",
    escalate="role:director",
)(Terms)
onboarding.approval(
    "terms_today",
    when=lambda trigger, enrich: enrich.employees > 500 and trigger.urgent,
    by="role:sales-lead",
    due="2s",
    escalate="role:director",
)(Terms)


@onboarding.step(timeout="5s")
async def create_customer(
    trigger: Form,
    enrich: Company,
    route: str,
    terms: Approval | None,
    terms_today: Approval | None,
    idempotency_key: str,
) -> Created:
    """Create the customer in the CRM."""
    decided = terms or terms_today
    customer = {
        "company": enrich.name,
        "contact": trigger.email,
        "owner": route,
        "discount_percent": decided.form.discount_percent if decided and decided.form else 0,
    }
    async with httpx.AsyncClient(base_url=SYSTEMS) as crm:
        headers = {"Idempotency-Key": idempotency_key}
        answer = await crm.post("/customers", json=customer, headers=headers)
    answer.raise_for_status()
    return Created(**answer.json())
