"""The definition as JSON, and its hash: what changes it, and what does not."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from meshline.workflow import Retry, Workflow
from meshline.workflow.source_text import source_of


def made(*, described: str = "", field: str = "size", attempts: int = 3, over: int = 5) -> Workflow:
    model: Any = type(
        "Trigger",
        (BaseModel,),
        {
            "__annotations__": {field: int},
            "__doc__": described,
            field: Field(description=described),
        },
    )
    wf = Workflow(
        "order", trigger=model, source="web", owner="team:a", exceptions="queue:a", outcome=int,
        description=described,
    )  # fmt: skip

    def create(trigger: Any) -> int:
        return 1

    create.__doc__ = described
    small, large = lambda trigger: trigger.size > 5, lambda trigger: trigger.size > 500
    wf.step(retry=Retry(attempts=attempts), when=large if over > 5 else small)(create)
    return wf


def test_words_for_people_do_not_change_the_hash() -> None:
    assert made(described="other words").spec.spec_hash == made().spec.spec_hash
    assert made(described="other words").spec.data != made().spec.data


def test_what_the_engine_decides_by_changes_the_hash() -> None:
    hashes = {
        spec.spec_hash
        for spec in (
            made().spec,
            made(field="length").spec,
            made(attempts=4).spec,
            made(over=500).spec,
        )
    }

    assert len(hashes) == 4


def test_a_field_may_be_called_title_or_description() -> None:
    hashes = {made(field=name).spec.spec_hash for name in ("title", "description", "properties")}

    assert len(hashes) == 3


def test_a_condition_is_told_in_the_authors_words() -> None:
    first, second = lambda a: a > 1, lambda b: b.x and b.y

    assert [source_of(first), source_of(second)] == ["a > 1", "b.x and b.y"]
    assert source_of(test_a_condition_is_told_in_the_authors_words).startswith("test_a_cond")


def test_a_lambda_without_a_source_file_is_called_what_it_is() -> None:
    assert source_of(eval("lambda a: a > 1")) == "<lambda>"


def test_a_condition_that_fails_names_itself_by_its_text() -> None:
    condition = made(over=500).spec.nodes["create"].condition

    assert condition is not None
    assert condition.name == "trigger.size > 500"
