"""Each wrong definition is refused when it is defined, and the message says what to change."""

# The steps here are never called.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from meshline.workflow import Approval, DefinitionRefused, Retry, StepContext, Workflow


class Trigger(BaseModel):
    size: int


class Found(BaseModel):
    name: str


class Made(BaseModel):
    id: str


def workflow(**changed: Any) -> Workflow:
    given: dict[str, Any] = {
        "trigger": Trigger, "source": "web.forms", "owner": "team:a", "exceptions": "queue:a",
        "outcome": Made,
    }  # fmt: skip
    return Workflow("order", **(given | changed))


def refusal(define: Callable[[], object]) -> str:
    with pytest.raises(DefinitionRefused) as refused:
        define()
    return str(refused.value)


def spec_refusal(*functions: Callable[..., Any], **options: Any) -> str:
    """The refusal of a workflow with these as plain steps, the last one with the options."""
    wf = workflow()
    for function in functions[:-1]:
        wf.step(function)
    wf.step(**options)(functions[-1])
    return refusal(lambda: wf.spec)


def make(trigger: Trigger) -> Made:
    return Made(id=str(trigger.size))


def find(trigger: Trigger) -> Found:
    return Found(name=str(trigger.size))


# -- the head --------------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", ["trigger", "source", "owner", "exceptions", "outcome"])
def test_each_of_the_five_answers_must_be_given(answer: str) -> None:
    message = refusal(lambda: workflow(**{answer: None}))

    assert message.startswith(f"ML4001 Workflow 'order' does not say its {answer}: expected all ")
    assert f"\n    {answer}=" in message


def test_all_missing_answers_are_named_at_once_with_the_lines_to_add() -> None:
    message = refusal(lambda: Workflow("order"))

    assert "does not say its trigger, source, owner, exceptions and outcome" in message
    assert 'owner="team:revops",' in message


@pytest.mark.parametrize("principal", ["revops", "team:", "Team:a", "team:a b", "squad:a", 7])
def test_owners_are_principals(principal: Any) -> None:
    message = refusal(lambda: workflow(owner=principal))

    assert message == (
        f"ML4003 The owner of workflow 'order' is {principal!r}: expected a kind (user, team, "
        "role, queue) and a name without spaces. "
        'Write for example "team:revops", "user:ada", "role:sales-lead" or "queue:triage".'
    )


def test_the_exception_route_is_a_principal() -> None:
    assert "ML4003 The exception route of workflow 'order' is 'me'" in refusal(
        lambda: workflow(exceptions="me")
    )


@pytest.mark.parametrize("version", [0, -1, "1", True, 1.0])
def test_versions_count_from_one(version: Any) -> None:
    message = refusal(lambda: workflow(version=version))

    assert message.startswith(f"ML4004 Workflow 'order' has version {version!r}: expected a whole")


@pytest.mark.parametrize("name", ["", "Order", "an order", "-order", "a" * 101, None])
def test_workflow_names_are_short_and_plain(name: Any) -> None:
    assert refusal(lambda: Workflow(name)).startswith(f"ML4002 The workflow is called {name!r}")


def test_a_source_has_no_spaces() -> None:
    assert "ML4002 The source of workflow 'order' is 'web forms'" in refusal(
        lambda: workflow(source="web forms")
    )


def test_a_trigger_without_a_name_of_its_own_needs_a_trigger_type() -> None:
    assert "Add trigger_type=" in refusal(lambda: workflow(trigger=dict[str, int] | None))
    assert workflow(trigger=dict[str, int] | None, trigger_type="order").version == 1


class Opaque:
    pass


def test_a_trigger_must_be_readable_from_json() -> None:
    wf = workflow(trigger=Opaque)

    assert refusal(lambda: wf.spec).startswith(
        "ML4012 The trigger of workflow 'order' is of type Opaque, which cannot be read from JSON: "
        "expected a pydantic model"
    )


# -- functions -------------------------------------------------------------------------------------


def test_a_generator_is_no_step() -> None:
    def pages(trigger: Trigger) -> Generator[int, None, None]:
        yield trigger.size

    message = refusal(lambda: workflow().step(pages))

    assert message.startswith("ML4013 The step 'pages' (test_define_refusals.py:")
    assert "is a generator: expected a function that returns one value" in message


def test_parameters_have_names_of_their_own() -> None:
    def stars(*values: int) -> None: ...
    def keywords(**values: int) -> None: ...
    def by_position(trigger: Trigger, /) -> None: ...

    assert "takes '*values': expected one parameter for each" in refusal(
        lambda: workflow().step(stars)
    )
    assert "takes '**values'" in refusal(lambda: workflow().step(keywords))
    assert "Remove the `/`." in refusal(lambda: workflow().step(by_position))


def test_values_come_from_the_run_and_not_from_defaults() -> None:
    def step(trigger: Trigger, times: int = 3) -> None: ...

    message = refusal(lambda: workflow().step(step))
    of_lambda = refusal(lambda: workflow().step(when=lambda trigger=None: True)(find))

    assert "ML4013" in message
    assert "has a default for 'times': 3: expected no default" in message
    assert "condition of step 'find'" in of_lambda
    assert "has a default for 'trigger': None" in of_lambda


def test_a_step_is_a_function_with_a_name() -> None:
    assert "The step is a lambda" in refusal(lambda: workflow().step(lambda trigger: 1))
    assert "expected a function. Write a function" in refusal(
        lambda: workflow().step(Opaque())  # type: ignore[call-overload]
    )


@pytest.mark.parametrize("name", ["trigger", "idempotency_key", "ctx", "result"])
def test_reserved_names_are_no_nodes(name: str) -> None:
    def function(trigger: Trigger) -> None: ...

    function.__name__ = name

    assert refusal(lambda: workflow().step(function)).startswith(
        f"ML4007 The step is called {name!r}: expected another name: {name!r} stands for "
    )


@pytest.mark.parametrize("name", ["cool off", "class", "", "2d"])
def test_names_of_nodes_can_be_names_of_parameters(name: str) -> None:
    assert f"ML4002 The sleep is called {name!r}" in refusal(lambda: workflow().sleep(name, "2d"))


def test_a_name_stands_for_one_node() -> None:
    wf = workflow()
    wf.step(find)

    message = refusal(lambda: wf.sleep("find", "2d"))

    assert message.startswith(
        "ML4006 The sleep 'find' has the name of another node, step 'find' (test_define_refusals"
    )


def test_nothing_is_added_to_a_workflow_in_use() -> None:
    wf = workflow()
    wf.step(make)
    assert wf.spec is wf.spec

    assert refusal(lambda: wf.step(find)).startswith("ML4018 Workflow 'order' is already in use")


# -- times and limits ------------------------------------------------------------------------------


@pytest.mark.parametrize("duration", ["", "10", "ten seconds", "-1s", "0s", "1s1s", 10, "200y"])
def test_durations_have_units_and_are_positive(duration: Any) -> None:
    message = refusal(lambda: workflow().step(timeout=duration)(find))

    assert message.startswith("ML4005 The timeout of step 'find' (test_define_refusals.py:")
    assert f"is {duration!r}: expected a positive duration" in message


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"retry": Retry(attempts=0)}, "has 0 attempts"),
        ({"retry": Retry(backoff=0.5)}, "has backoff 0.5"),
        ({"retry": Retry(initial="soon")}, "The first retry interval of step 'find'"),
        ({"retry": Retry(maximum=timedelta(0))}, "The longest retry interval of step 'find'"),
        ({"retry": Retry(non_retryable=[int])}, "has <class 'int'> in non_retryable"),  # type: ignore[list-item]
        ({"concurrency": 0}, "has concurrency 0"),
        ({"timeout": "1m", "total_timeout": "30s"}, "may take 30s over all tries, and 1m for one"),
        ({"timeout": "1m", "heartbeat": "1m"}, "has heartbeat 1m and timeout 1m"),
    ],
)
def test_limits_make_sense(options: dict[str, Any], says: str) -> None:
    assert says in refusal(lambda: workflow().step(**options)(find))


def test_the_due_time_is_a_duration() -> None:
    assert "ML4005 The due time of workflow 'order' is 'soon'" in refusal(
        lambda: workflow(due="soon")
    )


# -- names and types -------------------------------------------------------------------------------


def test_a_parameter_that_names_nothing_is_told_what_was_meant() -> None:
    def create(fnid: Found) -> Made: ...

    message = spec_refusal(find, create)

    assert message.startswith("ML4008 The step 'create' (test_define_refusals.py:")
    assert message.endswith(
        "takes 'fnid', and nothing in the workflow is called so: expected one of create, ctx, find,"
        " idempotency_key, trigger. Did you mean 'find'? Rename it."
    )


def test_a_condition_asks_for_what_is_there() -> None:
    message = spec_refusal(make, when=lambda company: company.size > 5)

    assert "The condition of step 'make' (test_define_refusals.py:" in message
    assert "takes 'company', and nothing in the workflow is called so" in message


def test_after_names_what_is_there() -> None:
    assert "comes after 'fund', and nothing in the workflow is called so" in spec_refusal(
        find, make, after="fund"
    )
    assert "comes after 'make'" in refusal(lambda: _after_function().spec)


def _after_function() -> Workflow:
    wf = workflow()
    wf.step(after=[make])(find)
    return wf


def test_nodes_that_wait_for_each_other_are_a_cycle() -> None:
    def one(three: Made) -> int: ...
    def two(one: int) -> int: ...
    def three(two: int) -> Made: ...

    message = spec_refusal(one, two, three)

    assert message.startswith("ML4009 Nodes of workflow 'order' wait for each other: ")
    assert "one → two → three → one" in message


def test_a_node_that_waits_for_itself_is_a_cycle() -> None:
    def one(one: Made) -> Made: ...

    assert "wait for each other: one → one: expected an order" in spec_refusal(one)


def test_a_parameter_takes_what_its_node_gives() -> None:
    def create(find: Made) -> Made: ...

    message = spec_refusal(find, create)

    assert message.startswith("ML4010 The parameter 'find' of step 'create' (")
    assert "is of type Made, but step 'find' (" in message
    assert message.endswith(
        "gives Found: expected a type that takes it. Annotate the parameter with Found, or change "
        "what is returned."
    )


def test_the_trigger_and_the_special_names_have_their_types() -> None:
    def wrong_trigger(trigger: Found) -> Made: ...
    def wrong_key(idempotency_key: int) -> Made: ...
    def wrong_context(ctx: str) -> Made: ...

    assert "trigger of workflow 'order' gives Trigger" in spec_refusal(wrong_trigger)
    assert "'idempotency_key' gives str" in spec_refusal(wrong_key)
    assert "'ctx' gives StepContext" in spec_refusal(wrong_context)


def test_a_value_that_may_be_none_is_taken_as_such() -> None:
    def search(trigger: Trigger) -> Found | None: ...
    def create(search: Found) -> Made: ...

    assert "Write `search: Found | None`, or return a Found in every case." in spec_refusal(
        search, create
    )


def test_an_approvals_value_is_an_approval() -> None:
    wf = workflow()

    @wf.approval("big", by="role:lead")
    class Terms(BaseModel):
        discount: int

    @wf.step
    def create(big: Terms | None) -> Made: ...

    assert "Write `big: Approval`: it says `approved`" in refusal(lambda: wf.spec)


def test_a_sleep_has_no_value() -> None:
    wf = workflow()
    wf.sleep("cool_off", "2d")

    @wf.step
    def create(cool_off: None) -> Made: ...

    message = refusal(lambda: wf.spec)

    assert "takes 'cool_off', and sleep 'cool_off' has no value: expected a node with" in message
    assert message.endswith("write after='cool_off' to wait for it.")


def test_what_a_step_returns_can_be_read_from_json() -> None:
    def create(trigger: Trigger) -> Opaque: ...

    message = spec_refusal(create)

    assert message.startswith("ML4012 The value of step 'create' (")
    assert "is of type Opaque, which cannot be read from JSON" in message


def test_annotations_name_what_exists() -> None:
    def create(trigger: "Nowhere") -> Made: ...  # type: ignore[name-defined]  # noqa: F821, UP037

    assert "ML4012 An annotation of step 'create' (" in spec_refusal(create)
    assert "names 'Nowhere', which is not defined" in spec_refusal(create)


# -- the outcome -----------------------------------------------------------------------------------


def test_a_step_gives_the_outcome() -> None:
    assert spec_refusal(find) == (
        "ML4011 The outcome of workflow 'order' is Made, and no step gives it: expected a step "
        "that returns Made. Annotate the step that ends the work with `-> Made`, or name it with "
        "outcome_step=."
    )


def test_one_step_gives_the_outcome() -> None:
    def again(make: Made) -> Made: ...

    message = spec_refusal(make, again)

    assert "more than one node gives it: make, again: expected one" in message
    assert 'Add outcome_step="again"' in message


def test_an_outcome_in_words_names_its_step() -> None:
    assert "Add outcome_step=" in refusal(lambda: workflow(outcome="it is made").spec)


def test_the_outcome_step_gives_the_outcome() -> None:
    wrong, unknown = workflow(outcome_step="find"), workflow(outcome_step="nobody")
    for wf in (wrong, unknown):
        wf.step(find)

    assert "outcome_step='find', and step 'find' (" in refusal(lambda: wrong.spec)
    assert "outcome_step='nobody', which is no node with a value: expected one of find" in refusal(
        lambda: unknown.spec
    )


# -- rules -----------------------------------------------------------------------------------------


def test_rules_are_plain_functions() -> None:
    async def route(trigger: Trigger) -> str: ...

    wf = workflow()
    wf.step(make)
    wf.assign(route)

    assert refusal(lambda: wf.spec).startswith("ML4014 The owner rule 'route' (")
    assert "is async: expected a plain function" in refusal(lambda: wf.spec)


def test_rules_know_values_only() -> None:
    def route(trigger: Trigger, ctx: StepContext) -> str: ...

    wf = workflow()
    wf.assign(route)

    assert "takes 'ctx': expected values of nodes and the trigger only" in refusal(lambda: wf.spec)


@pytest.mark.parametrize("returns", [int, str | None, Made])
def test_an_owner_rule_returns_a_text(returns: Any) -> None:
    def route(trigger: Trigger) -> Any: ...

    route.__annotations__["return"] = returns
    wf = workflow()
    wf.assign(route)

    assert "expected str. Return str, in every case." in refusal(lambda: wf.spec)


def test_a_rule_is_about_something() -> None:
    message = spec_refusal(make, when=lambda: True)

    assert "takes no parameter, so it always says the same" in message


def test_a_sleep_has_a_length_or_a_moment() -> None:
    def moment(trigger: Trigger) -> datetime: ...

    assert "The sleep 'nap' has neither a duration nor until=" in refusal(
        lambda: workflow().sleep("nap")
    )
    assert "The sleep 'nap' has both a duration and until=" in refusal(
        lambda: workflow().sleep("nap", "1h", until=moment)
    )


def test_a_moment_is_a_datetime() -> None:
    def moment(trigger: Trigger) -> int: ...

    wf = workflow()
    wf.sleep("nap", until=moment)  # type: ignore[arg-type]

    assert "The moment of sleep 'nap' (" in refusal(lambda: wf.spec)
    assert "returns int: expected datetime" in refusal(lambda: wf.spec)


# -- approvals and compensation --------------------------------------------------------------------


@dataclasses.dataclass
class Terms:
    discount: int


@pytest.mark.parametrize("name", [None, "big"])
def test_a_form_is_a_pydantic_model(name: str | None) -> None:
    message = refusal(lambda: workflow().approval(name, by="role:lead")(Terms))  # type: ignore[type-var]

    assert message.startswith(f"ML4015 The form of approval {name or 'Terms'!r} is <class ")
    assert "Derive the class from BaseModel" in message


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"by": "lead"}, "ML4003 The person who decides approval 'big' (by=) is 'lead'"),
        (
            {"by": "role:lead", "escalate": ["team:a"]},
            "ML4015 The approval 'big' is escalated to 'team:a', and has no due time",
        ),
        (
            {"by": "role:lead", "due": "1h", "escalate": ["a"]},
            "ML4003 The escalation of approval 'big' is 'a'",
        ),
        ({"by": "role:lead", "denied": "stop"}, "ML4015 The approval 'big' has denied='stop'"),
        ({"by": "role:lead", "due": "1 fortnight"}, "ML4005 The due time of approval 'big'"),
        ({"by": "role:lead", "of": 0}, "ML4015 The approval 'big' has of=0"),
        ({"by": "user:ada", "of": 2}, "ML4015 The approval 'big' needs 2 people"),
        ({"by": "role:lead", "remind": "1h"}, "ML4015 The approval 'big' reminds people 1h"),
        (
            {"by": "role:lead", "due": "1h", "remind": ["1h"]},
            "ML4015 The approval 'big' reminds people 1h before a due time of 3600 s",
        ),
        ({"by": "role:lead", "on_expiry": "x"}, "ML4015 The approval 'big' has on_expiry='x'"),
        (
            {"by": "role:lead", "on_expiry": "deny"},
            "ML4015 The approval 'big' has on_expiry='deny', and no due time",
        ),
        (
            {"by": "role:lead", "due": "1h", "on_expiry": "escalate"},
            "ML4015 The approval 'big' has on_expiry='escalate', and nobody to escalate to",
        ),
        (
            {"by": "role:lead", "due": "1h", "escalate": [("team:a", "soon")]},
            "ML4005 The due time of 'team:a' in approval 'big'",
        ),
    ],
)
def test_an_approval_says_who_and_until_when(options: dict[str, Any], says: str) -> None:
    assert refusal(lambda: workflow().approval("big", **options)).startswith(says)


def test_who_asks_is_a_rule_that_returns_a_user() -> None:
    def requester(trigger: Trigger) -> int: ...

    wf = workflow()
    wf.approval("big", by="role:lead", requester=requester)  # type: ignore[arg-type]

    assert "The requester of approval 'big' (" in refusal(lambda: wf.spec)
    assert "returns int: expected str | None" in refusal(lambda: wf.spec)


def test_a_compensation_takes_what_came_before_its_step() -> None:
    def undo(later: int) -> None: ...
    def later(make: Made) -> int: ...

    wf = workflow()
    wf.step(compensate=undo)(make)
    wf.step(later)

    message = refusal(lambda: wf.spec)

    assert message.startswith("ML4016 The compensation of step 'make' (")
    assert "takes 'later', which does not come before step 'make'" in message


def test_a_compensation_knows_that_what_its_step_only_wanted_may_be_missing() -> None:
    def undo(find: Found) -> None: ...
    def create(find: Found | None) -> Made: ...

    message = spec_refusal(find, create, compensate=undo)

    assert "takes 'find', which may have been skipped: expected a parameter" in message
    assert message.endswith("Write `find: Found | None`.")


def test_a_compensation_takes_the_result_as_it_is() -> None:
    def undo(result: Found) -> None: ...
    def undo_unknown(nothing: int) -> None: ...

    assert "The parameter 'result' of compensation of step 'make' (" in spec_refusal(
        make, compensate=undo
    )
    assert "takes 'nothing', and nothing in the workflow is called so" in spec_refusal(
        make, compensate=undo_unknown
    )


def test_a_right_definition_is_not_refused() -> None:
    def undo(result: Made, make: Made, find: Found, idempotency_key: str) -> None: ...
    def create(find: Found, big: Approval | None, ctx: StepContext) -> int: ...

    wf = workflow()
    wf.step(find)
    wf.approval("big", by="user:ada", when=lambda find: bool(find.name))
    wf.step(create)

    @wf.step(compensate=undo, after=[create, "big"])
    def make(find: Found) -> Made: ...

    assert wf.spec.nodes["make"].needs == ("find",)
    assert wf.spec.nodes["make"].wants == ("create", "big")
