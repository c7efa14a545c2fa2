"""The design's example, as authors write it and as the engine reads it."""

from __future__ import annotations

import orjson
from pydantic import BaseModel

from meshline.workflow import Approval, Retry, Workflow
from meshline.workflow.spec import ApprovalNode, AssignNode, StepNode


class FormSubmitted(BaseModel):
    form_id: str
    company: str


class Company(BaseModel):
    name: str
    employees: int


class LeadCreated(BaseModel):
    crm_id: str


def workflow(**changed: object) -> Workflow:
    given: dict[str, object] = {
        "version": 1,
        "trigger": FormSubmitted,
        "source": "web.forms",
        "owner": "team:revops",
        "exceptions": "queue:revops-triage",
        "outcome": LeadCreated,
    }
    return Workflow("lead-intake", **(given | changed))  # type: ignore[arg-type]


def lead_intake() -> Workflow:
    wf = workflow(due="2d")

    def remove_from_crm(result: LeadCreated) -> None: ...

    @wf.step(retry=Retry(attempts=5, non_retryable=[ValueError, "Unknown"]), timeout="10s")
    async def enrich(trigger: FormSubmitted) -> Company:
        """Look the company up."""
        return Company(name=trigger.company, employees=900)

    @wf.assign
    def route(trigger: FormSubmitted, enrich: Company) -> str:
        return f"team:{'large' if enrich.employees > 500 else 'small'}"

    @wf.approval(
        "big_deal", when=lambda enrich: enrich.employees > 500, by="role:sales-lead", due="4h",
        escalate="team:sales-directors",
    )  # fmt: skip
    class BigDeal(BaseModel):
        discount: int

    @wf.step(compensate=remove_from_crm)
    def create_lead(
        enrich: Company, big_deal: Approval | None, idempotency_key: str
    ) -> LeadCreated:
        return LeadCreated(crm_id=idempotency_key)

    return wf


def test_the_example_becomes_the_graph_that_it_says() -> None:
    spec = lead_intake().spec

    assert list(spec.nodes) == ["enrich", "route", "big_deal", "create_lead"]
    assert [spec.nodes[name].needs for name in spec.nodes] == [
        (),
        ("enrich",),
        ("enrich",),
        ("enrich",),
    ]
    assert spec.nodes["create_lead"].wants == ("big_deal",)
    assert (spec.outcome_node, spec.due_s) == ("create_lead", 172_800)
    assert isinstance(spec.nodes["route"], AssignNode)


def test_a_steps_limits_are_kept() -> None:
    enrich = lead_intake().spec.nodes["enrich"]

    assert isinstance(enrich, StepNode)
    assert (enrich.start_to_close_s, enrich.retry.maximum_attempts) == (10, 5)
    assert enrich.retry.non_retryable == ("ValueError", "Unknown")
    assert enrich.description == "Look the company up."


def test_an_approvals_form_is_typed_in_the_value_that_is_handed_over() -> None:
    spec = lead_intake().spec
    create_lead, big_deal = spec.nodes["create_lead"], spec.nodes["big_deal"]
    assert isinstance(create_lead, StepNode)
    assert isinstance(big_deal, ApprovalNode)
    adapter = {p.name: p for p in create_lead.parameters}["big_deal"].adapter

    approval = adapter.validate_python(
        {"approved": True, "by": "user:ada", "form": {"discount": 3}}
    )

    assert isinstance(approval, Approval)
    assert big_deal.form is not None
    assert isinstance(approval.form, big_deal.form)
    assert adapter.validate_python(None) is None


def test_an_unannotated_parameter_is_read_as_what_its_node_returns() -> None:
    condition = lead_intake().spec.nodes["big_deal"].condition
    assert condition is not None

    company = condition.parameters[0].adapter.validate_python({"name": "Acme", "employees": 501})

    assert condition.call(enrich=company) is True


def test_the_data_is_json_and_the_hash_is_the_same_each_time() -> None:
    spec = lead_intake().spec

    assert orjson.loads(orjson.dumps(spec.data)) == spec.data
    assert lead_intake().spec.spec_hash == spec.spec_hash
    assert spec.data["nodes"][2]["condition"]["text"] == "enrich.employees > 500"


def test_functions_stay_functions() -> None:
    wf = workflow()

    @wf.step
    def create_lead(trigger: FormSubmitted) -> LeadCreated:
        return LeadCreated(crm_id=trigger.company)

    assert create_lead(FormSubmitted(form_id="1", company="Acme")).crm_id == "Acme"
