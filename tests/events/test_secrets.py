from __future__ import annotations

from typing import Any

import pytest

from meshline.events.corrections import differences
from meshline.events.secrets import (
    MASK,
    WHOLE,
    at,
    holds_mask,
    kept,
    masked,
    masked_change,
    places_of,
    texts_of,
    within,
)

LOAN = {"name": "Ada", "account": "SE45", "rows": [{"salary": 1, "n": 1}, {"salary": None, "n": 2}]}
PLACES = places_of(["/account", "/rows/*/salary"])


def test_what_is_secret_is_masked_and_the_rest_is_as_it_was() -> None:
    assert masked(LOAN, PLACES) == {
        "name": "Ada",
        "account": MASK,
        "rows": [{"salary": MASK, "n": 1}, {"salary": MASK, "n": 2}],
    }


@pytest.mark.parametrize("secret", ["", "x", 0, 10**9, True, [1, 2], {"a": {"b": 1}}, None])
def test_the_mask_tells_neither_what_a_secret_is_nor_how_long(secret: Any) -> None:
    assert masked({"account": secret}, PLACES) == {"account": MASK}


@pytest.mark.parametrize(
    "value",
    ["SE45", 45, ["SE45"], [["SE45"]], {"account": ["SE45"]}, {"rows": "SE45"},
     {"rows": ["SE45"]}, {"rows": {"salary": "SE45"}}, {"rows": {"0": {"salary": "SE45"}}}],
)  # fmt: skip
def test_a_value_of_another_shape_shows_no_secret(value: Any) -> None:
    assert "45" not in str(masked(value, PLACES))


def test_a_value_without_secrets_is_handed_back_as_it_is() -> None:
    assert masked(LOAN, places_of([])) is LOAN


def test_names_with_slashes_and_tildes_are_found() -> None:
    assert masked({"a/b": {"c~d": 1}}, places_of(["/a~1b/c~0d"])) == {"a/b": {"c~d": MASK}}


def test_a_part_of_a_value_has_the_secrets_that_stand_in_it() -> None:
    assert at(PLACES, "/rows/1") == places_of(["/salary"])
    assert at(PLACES, "/account/anything/below") == WHOLE
    assert at(within("loan", PLACES), "/loan/account") == WHOLE


def test_of_a_change_of_a_secret_nothing_is_said_but_that_it_is_one() -> None:
    before, after = LOAN, {**LOAN, "account": "SE46", "name": "Eve"}

    shown = [masked_change(c.model_dump(), PLACES, PLACES) for c in differences(before, after)]

    assert shown == [
        {"path": "/name", "what": "changed", "before": "Ada", "after": "Eve"},
        {"path": "/account", "what": "changed", "before": MASK, "after": MASK},
    ]


def test_what_is_secret_on_one_side_of_a_change_is_hidden_on_both() -> None:
    change = {"path": "/account", "what": "changed", "before": "SE45", "after": "SE46"}

    shown = masked_change(change, PLACES, places_of([]))

    assert (shown["before"], shown["after"]) == (MASK, MASK)


def test_a_change_of_what_holds_secrets_shows_the_rest_of_it() -> None:
    change = {"path": "", "what": "added", "before": None, "after": LOAN}

    shown = masked_change(change, PLACES, PLACES)

    assert shown["before"] is None
    assert shown["after"] == masked(LOAN, PLACES)


def test_a_mask_that_is_left_untouched_keeps_the_old_secret() -> None:
    edited = masked(LOAN, PLACES) | {"name": "Eve"}

    assert kept(edited, LOAN, PLACES) == {**LOAN, "name": "Eve"}


def test_a_secret_that_is_typed_takes_the_place_of_the_old_one() -> None:
    edited = masked(LOAN, PLACES) | {"account": "SE99"}

    assert kept(edited, LOAN, PLACES)["account"] == "SE99"


@pytest.mark.parametrize(
    "edited",
    [{"name": MASK}, {"other": MASK}, {"rows": [{"salary": MASK}]}, {"rows": MASK}, MASK],
)
def test_a_mask_where_no_secret_was_is_refused(edited: Any) -> None:
    with pytest.raises(ValueError, match="write the value"):
        kept(edited, LOAN, PLACES)


def test_it_is_known_whether_a_value_still_holds_a_mask() -> None:
    assert holds_mask({"a": [{"b": MASK}]})
    assert not holds_mask({"a": [{"b": f"not {MASK}"}], "c": None})


def test_the_texts_of_secrets_are_found_at_any_depth() -> None:
    value = {"account": {"iban": "SE45", "digits": [7, True, None]}, "name": "Ada"}

    assert texts_of(value, PLACES) == {"SE45", "7"}
