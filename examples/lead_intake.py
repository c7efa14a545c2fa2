"""Lead intake: a form on the web site becomes a lead in the CRM, with an owner.

The directory of companies and the CRM are simulated, and always do the same: what fails here fails
again tomorrow. `generate` makes the submissions of a day, with all that goes wrong in real ones.

    meshline demo                                  runs this with 500 submissions
    meshline check examples/lead_intake.py         says what the definition promises
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from random import Random
from typing import Any

from pydantic import BaseModel, EmailStr, Field

from meshline.workflow import Approval, Retry, StepContext, Workflow

# -- what comes in, and what comes out -------------------------------------------------------------


class FormSubmitted(BaseModel):
    form_id: str
    email: EmailStr
    name: str = Field(min_length=1)
    company: str = Field(min_length=1)
    country: str = Field(pattern="^[A-Z]{2}$")
    message: str = ""


class Company(BaseModel):
    name: str
    domain: str
    country: str
    region: str
    industry: str
    employees: int


class LeadCreated(BaseModel):
    crm_id: str


# -- the systems outside, simulated ----------------------------------------------------------------


class EnrichmentUnavailable(Exception):
    """The directory does not answer now; it may later."""


class CompanyUnknown(Exception):
    """The directory answers that there is no such company; it will say so again."""


REGIONS = {
    "emea": ("SE", "DE", "FR", "NL", "PL", "GB", "ES", "IT"),
    "amer": ("US", "CA", "BR", "MX"),
    "apac": ("JP", "AU", "IN", "SG"),
}
REGION_OF = {country: region for region, countries in REGIONS.items() for country in countries}
INDUSTRIES = ("logistics", "software", "retail", "energy", "health", "machinery", "finance")

LARGE = {
    "Northwind Energy": 12_400,
    "Halvorsen Marine": 3_100,
    "Ostrava Steelworks": 8_750,
    "Cobalt Insurance": 2_300,
    "Meridian Rail": 5_600,
    "Sakura Instruments": 1_850,
}
OUT_OF_ORDER = "Nimbus Freight"
"""The directory's entry of this company cannot be read, and repeating does not help."""
NOT_LISTED = "Vanta Kiosk"


def digest_of(text: str) -> int:
    """Return a number that is the same for the same text on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


class Directory:
    """A directory of companies. One in twelve makes it stumble: once, twice or three times."""

    async def look_up(self, company: str, country: str, attempt: int) -> Company:
        number = digest_of(company)
        await asyncio.sleep(0.001 + number % 5 / 1000)
        if company == NOT_LISTED:
            raise CompanyUnknown(f"no entry for {company!r}")
        stumbles = 1 + number // 12 % 3 if number % 12 == 0 else 0
        if company == OUT_OF_ORDER or attempt <= stumbles:
            raise EnrichmentUnavailable(f"503 from the directory for {company!r}")
        return Company(
            name=company,
            domain=company.lower().replace(" ", "-") + ".example",
            country=country,
            region=REGION_OF.get(country, "emea"),
            industry=INDUSTRIES[number % len(INDUSTRIES)],
            employees=LARGE.get(company, 5 + number % 440),
        )


@dataclass
class Crm:
    """A CRM that honours idempotency keys: the same key is the same lead."""

    leads: dict[str, dict[str, Any]] = field(default_factory=dict)

    def create(self, key: str, lead: dict[str, Any]) -> str:
        crm_id = f"L-{digest_of(key) % 10**8:08}"
        self.leads.setdefault(crm_id, lead)
        return crm_id

    def remove(self, crm_id: str) -> None:
        self.leads.pop(crm_id, None)


directory = Directory()
crm = Crm()

# -- the workflow ----------------------------------------------------------------------------------

lead = Workflow(
    "lead-intake",
    version=1,
    trigger=FormSubmitted,
    source="web.forms",
    owner="team:revops",
    exceptions="queue:revops-triage",
    outcome=LeadCreated,
    due="2d",
    description="A form on the web site becomes a lead in the CRM, with an owner.",
)

patient = Retry(attempts=5, initial="50ms", maximum="1s", non_retryable=[CompanyUnknown])


@lead.step(retry=patient, timeout="10s")
async def enrich(trigger: FormSubmitted, ctx: StepContext) -> Company:
    """Look the company up in the directory."""
    return await directory.look_up(trigger.company, trigger.country, ctx.attempt)


@lead.assign
def route(enrich: Company) -> str:
    """Large companies go to the enterprise team, all others to the team of their region."""
    return "team:enterprise" if enrich.employees > 500 else f"team:{enrich.region}"


@lead.approval(
    "big_deal",
    when=lambda enrich: enrich.employees > 500,
    by="role:sales-lead",
    due="4h",
    escalate="team:sales-directors",
)
class BigDeal(BaseModel):
    """Terms for a large company."""

    discount_percent: int = Field(ge=0, le=40)


def remove_from_crm(result: LeadCreated) -> None:
    crm.remove(result.crm_id)


@lead.step(timeout="10s", compensate=remove_from_crm)
async def create_lead(
    trigger: FormSubmitted, enrich: Company, big_deal: Approval | None, idempotency_key: str
) -> LeadCreated:
    """Create the lead in the CRM, with the terms that were approved."""
    discount = big_deal.form.discount_percent if big_deal and big_deal.form else 0
    record = {
        "name": trigger.name,
        "email": trigger.email,
        "company": enrich.name,
        "employees": enrich.employees,
        "discount_percent": discount,
    }
    return LeadCreated(crm_id=crm.create(idempotency_key, record))


@lead.step(timeout="5s")
async def tell_owner(trigger: FormSubmitted, create_lead: LeadCreated, route: str) -> str:
    """Tell the owner that there is a new lead; here, only the text."""
    return f"{route}: {trigger.name} of {trigger.company} is lead {create_lead.crm_id}."


# -- a day of submissions --------------------------------------------------------------------------


@dataclass(frozen=True)
class Submission:
    """What the web form sends; ``kind`` says what is special about it, for tests and the eye."""

    id: str
    payload: Any
    kind: str


NAMES = (
    "Ada Lindqvist", "Jonas Weber", "Chiara Conti", "Piotr Nowak", "Maya Patel", "Kenji Mori",
    "Lucía Romero", "Tom Becker", "Anaïs Laurent", "Zoë de Vries", "Femi Adeyemi", "Grace Park",
)  # fmt: skip
FIRST_WORDS = (
    "Amber", "Birch", "Cedar", "Delta", "Ember", "Fjord", "Granite", "Harbor", "Indigo", "Juniper",
    "Kestrel", "Lumen", "Maple", "Nova", "Onyx", "Prairie", "Quartz", "Rowan", "Summit", "Tundra",
)  # fmt: skip
SECOND_WORDS = ("Labs", "Foods", "Systems", "Trading", "Works", "Clinics", "Studio", "Motors")
MESSAGES = ("Please call me back.", "We need a quote for 40 seats.", "Demo next week?", "")

INVALID: dict[str, dict[str, Any]] = {
    "no e-mail": {"email": None},
    "malformed e-mail": {"email": "call me instead"},
    "empty company": {"company": ""},
    "country in words": {"country": "Sweden"},
    "name as a list": {"name": ["Ada", "Lindqvist"]},
    "a character that no database keeps": {"message": "hello\u0000"},
}


def generate(count: int = 500, seed: int = 7) -> list[Submission]:
    """Return submissions as a web form sends them, the same for the same arguments.

    Of 100, about 4 are from large companies, 3 come twice, and 3 are invalid. Once, an id comes
    again with another payload; one company is out of order in the directory, one not listed.
    """
    random = Random(seed)
    kinds = ["out of order", "not listed", "changed"]
    kinds += ["large"] * max(1, count * 4 // 100) + ["repeated"] * max(1, count * 3 // 100)
    kinds += [list(INVALID)[n % len(INVALID)] for n in range(max(len(INVALID), count * 3 // 100))]
    kinds = (["new"] * (count - len(kinds)) + kinds)[:count]
    random.shuffle(kinds)
    sent: list[Submission] = []
    for number, kind in enumerate(kinds, 1):
        valid = [each for each in sent if each.kind in ("new", "large")]
        if kind in ("repeated", "changed") and not valid:
            kind = "new"
        if kind in ("repeated", "changed"):
            earlier = random.choice(valid)
            changes = {"message": "Please forget my first message."} if kind == "changed" else {}
            sent.append(Submission(earlier.id, earlier.payload | changes, kind))
        else:
            form_id = f"F-{number:05}"
            sent.append(Submission(form_id, _form(random, form_id, kind), kind))
    return sent


def _form(random: Random, form_id: str, kind: str) -> dict[str, Any]:
    name = random.choice(NAMES)
    company = f"{random.choice(FIRST_WORDS)} {random.choice(SECOND_WORDS)}"
    special = {"large": random.choice(sorted(LARGE)), "out of order": OUT_OF_ORDER}
    company = (special | {"not listed": NOT_LISTED}).get(kind, company)
    form: dict[str, Any] = {
        "form_id": form_id,
        "email": f"{name.split()[0].lower()}@{company.lower().replace(' ', '-')}.example.com",
        "name": name,
        "company": company,
        "country": random.choice(sorted(REGION_OF)),
        "message": random.choice(MESSAGES),
    }
    form |= INVALID.get(kind, {})
    return {key: value for key, value in form.items() if value is not None}
