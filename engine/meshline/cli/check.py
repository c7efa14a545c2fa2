"""``meshline check APP``: what the workflows of an app promise, and what is wrong with them."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from meshline.cli.call import Call, command, end, group
from meshline.cli.exits import Exit
from meshline.cli.tables import Column, plain_table
from meshline.events.errors import MeshlineError
from meshline.workflow.check import Finding, answers
from meshline.workflow.check import check as findings_of
from meshline.workflow.durations import duration_text
from meshline.workflow.errors import DefinitionRefused, RegistryConflict
from meshline.workflow.loading import load_app
from meshline.workflow.spec import (
    AssignNode,
    MessageNode,
    Node,
    SleepNode,
    StepNode,
    TaskNode,
    WorkflowSpec,
)

__all__ = ["app"]

app = group("Say what the workflows of an app promise, and what is wrong with them.")


@command(app, where=False)
async def check(
    call: Call,
    target: Annotated[
        str, typer.Argument(metavar="APP", help="leads.py, company.leads or company.leads:registry")
    ],
    strict: Annotated[bool, typer.Option("--strict", help="Let warnings fail too.")] = False,
) -> None:
    """Say what the workflows of an app promise, and what is wrong with them.

    Answers the five questions for each: trigger, source system, owner, exception route, expected
    outcome. Ends with 1 if something is wrong, so that a build can stop there.

    \b
    Examples:
      meshline check examples/lead_intake.py
      meshline check company.leads --strict
      meshline check leads.py --output json | jq '.workflows[].owner'
    """
    workflows: list[WorkflowSpec] = []
    findings: list[dict[str, Any]] = []
    try:
        workflows = [spec for spec in load_app(target) if spec.silence_of is None]
    except (DefinitionRefused, RegistryConflict) as error:
        findings.append(_refusal(error))
    for spec in workflows:
        findings += [_finding(spec, finding) for finding in findings_of(spec)]
    result = {
        "app": target,
        "workflows": [_answers(spec) | {"nodes": _nodes(spec)} for spec in workflows],
        "findings": findings,
    }
    call.out.thing(result, lambda: "\n".join(_text(spec) for spec in workflows) or "No workflow.")
    for finding in findings:
        call.out.say(f"{finding['severity']:<8} {finding['code']}  {finding['message']}")
    failing = ("error", "warning") if strict else ("error",)
    wrong = [finding for finding in findings if finding["severity"] in failing]
    if not findings:
        call.out.say(f"Nothing found in {len(workflows)} workflow(s).")
    end(Exit.FAILED if wrong else Exit.OK)


def _refusal(error: MeshlineError) -> dict[str, Any]:
    notes = getattr(error, "__notes__", ())
    return {
        "severity": "error",
        "code": error.code,
        "workflow": None,
        "about": "",
        "message": " ".join([error.message.strip(), *(f"({note})" for note in notes)]),
    }


def _finding(spec: WorkflowSpec, finding: Finding) -> dict[str, Any]:
    return {
        "severity": finding.severity,
        "code": finding.code,
        "workflow": spec.name,
        "about": finding.about,
        "message": finding.message,
    }


def _answers(spec: WorkflowSpec) -> dict[str, Any]:
    return {
        "workflow": spec.name,
        "version": spec.version,
        "hash": spec.spec_hash,
        "description": spec.description,
        "observed": spec.observed,
        "trigger": spec.trigger_type,
        "source": spec.source,
        "owner": spec.owner,
        "owner_rules": [n.name for n in spec.nodes.values() if isinstance(n, AssignNode)],
        "exception_route": spec.exception_route,
        "expected_outcome": spec.expected_outcome,
        "due": None if spec.due_s is None else duration_text(spec.due_s),
        "silent_after": (
            None if spec.silent_after_s is None else duration_text(spec.silent_after_s)
        ),
    }


def _nodes(spec: WorkflowSpec) -> list[dict[str, Any]]:
    return [
        {
            "name": node.name,
            "kind": _kind(node),
            "needs": list(node.needs),
            "wants": list(node.wants),
            "condition": node.condition is not None,
            "limits": _limits(node),
        }
        for node in spec.nodes.values()
    ]


def _text(spec: WorkflowSpec) -> str:
    words = answers(spec)
    rules = [node.name for node in spec.nodes.values() if isinstance(node, AssignNode)]
    lines = [
        f"{spec.name} v{spec.version} ({spec.spec_hash}){' observed' if spec.observed else ''}",
        *(f"  {line}" for line in spec.description.splitlines()),
        f"  trigger           {words['trigger']}",
        f"  source system     {words['source']}",
        *_silence(spec),
        f"  owner             {words['owner']}{''.join(f', then by rule {r}' for r in rules)}",
        f"  exception route   {words['exceptions']}",
        f"  expected outcome  {words['outcome']}",
    ]
    if spec.nodes:
        table = plain_table(_NODE_COLUMNS, list(spec.nodes.values()))
        lines += ["", *(f"  {line}" for line in table.splitlines())]
    return "\n".join(lines) + "\n"


def _silence(spec: WorkflowSpec) -> list[str]:
    if spec.silent_after_s is None:
        return []
    silent_after = duration_text(spec.silent_after_s)
    return [f"                    an exception if it is silent for {silent_after}"]


def _kind(node: Node) -> str:
    return type(node).__name__.removesuffix("Node").lower()


def _after(node: Node) -> str:
    after = [*node.needs, *(f"{name}?" for name in node.wants)] or ["trigger"]
    return ", ".join(after) + (" (if its condition holds)" if node.condition else "")


def _limits(node: Node) -> str:
    if isinstance(node, StepNode):
        tries = node.retry.maximum_attempts
        items = [] if node.each is None else [f"for each of {node.each.text}"]
        limits = [
            *items,
            f"{tries} tries" if tries > 1 else "1 try",
            duration_text(node.start_to_close_s),
        ]
        limits += ["outside"] if node.outside else []
        limits += ["undone if the run ends badly"] if node.compensation else []
        return ", ".join(limits)
    if isinstance(node, TaskNode):
        due = [] if node.due_s is None else [duration_text(node.due_s)]
        return ", ".join([node.by, *due, *(f"then {name}" for name in node.escalate)])
    if isinstance(node, SleepNode) and node.duration_s is not None:
        return duration_text(node.duration_s)
    if isinstance(node, MessageNode) and node.due_s is not None:
        return duration_text(node.due_s)
    return ""


_NODE_COLUMNS = (
    Column("node", lambda node: node.name),
    Column("kind", _kind),
    Column("after", _after),
    Column("limits", _limits),
)
