"""Content negotiation, as Java, browsers and curl do it."""

from __future__ import annotations

import pytest

from gateway.media import EVENTS, JSON, MSGPACK, choose, plain_type
from gateway.problems import ProblemError

OFFERED = (JSON, MSGPACK, EVENTS)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", JSON),
        ("*/*", JSON),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", JSON),
        ("application/msgpack", MSGPACK),
        ("application/x-msgpack", MSGPACK),
        ("application/json;q=0.1, application/msgpack", MSGPACK),
        ("application/*;q=0.5, text/event-stream", EVENTS),
        ("application/json;q=0, */*", MSGPACK),
    ],
)
def test_the_best_liked_type_is_chosen(accept: str, chosen: str) -> None:
    """The most specific range decides, equal ones leave it to the default, and Java's bare star counts as everything."""
    assert choose(accept, OFFERED) == chosen


@pytest.mark.parametrize("accept", ["text/html", "application/json;q=0", "image/*", ";;;", "application/json;q=nonsense"])
def test_what_cannot_be_given_is_not_acceptable(accept: str) -> None:
    """A client that wants none of the offered types learns which there are."""
    with pytest.raises(ProblemError) as caught:
        choose(accept, OFFERED)
    assert caught.value.code == "not-acceptable"


def test_parameters_and_case_of_a_type_do_not_matter() -> None:
    """``Application/JSON; charset=utf-8`` is JSON."""
    assert plain_type("Application/JSON; charset=utf-8") == JSON
