"""Application profiles: what configuration may say, and what a session gets from it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bridge.connectors.base import SessionOpening, SessionRefusedError
from bridge.connectors.local.profile import LocalSettings, SessionPlan, plan_session
from schemas.symphony import SessionCreationAttributes

_APPLICATION = {
    "name": "pricing",
    "service": "desk.pricing:Pricer",
    "session_types": [{"name": "Short", "priority": 7}, {"name": "Long", "task_retry_limit": 4}],
}


def _read(**changes: object) -> LocalSettings:
    return msgspec.convert({"kind": "local", "applications": [{**_APPLICATION, **changes}]}, LocalSettings)


def _plan(settings: LocalSettings, **attributes: object) -> SessionPlan:
    opening = SessionOpening(sid=bytes(16), grid="G", application="pricing", principal="p", attributes=msgspec.convert(attributes, SessionCreationAttributes))
    return plan_session(settings, opening)


def test_unset_attributes_take_the_session_types_defaults() -> None:
    """Without a type the default type counts, without a priority the type's."""
    first, named = _plan(_read()), _plan(_read(default_session_type="Long"))

    assert (first.session_type.name, first.priority) == ("Short", 7)
    assert (named.session_type.name, named.priority, named.session_type.task_retry_limit) == ("Long", 1, 4)


def test_an_empty_type_means_the_default() -> None:
    """Symphony's empty session type is the default one."""
    assert _plan(_read(), type="").session_type.name == "Short"


def test_what_the_client_says_goes_first() -> None:
    """Type and priority of the client are laid over the profile."""
    plan = _plan(_read(), type="Long", priority=10_000)

    assert (plan.session_type.name, plan.priority) == ("Long", 10_000)


def test_an_unknown_type_names_the_known_ones() -> None:
    """The refusal tells what there is."""
    with pytest.raises(SessionRefusedError, match="Short, Long") as refused:
        _plan(_read(), type="Medium")

    assert refused.value.code == "unknown-session-type"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"service": "desk.pricing"}, "module:Class"),
        ({"default_session_type": "Medium"}, "is none of Short, Long"),
        ({"session_types": []}, "needs session types"),
        ({"session_types": [{"name": "A"}, {"name": "A"}]}, "different names"),
        ({"session_types": [{"name": "A", "priority": 10_001}]}, "10000"),
        ({"session_types": [{"name": "A", "task_retry_limit": -1}]}, ">= 0"),
        ({"invoke_timeout": 0}, "> 0"),
        ({"invoke_time_out": 1}, "unknown field"),
    ],
)
def test_profiles_that_make_no_sense_are_refused(changes: dict[str, Any], reason: str) -> None:
    """Configuration is refused with the reason."""
    with pytest.raises(msgspec.ValidationError, match=reason):
        _read(**changes)


def test_application_names_are_unique() -> None:
    """Two applications of one name are refused."""
    with pytest.raises(msgspec.ValidationError, match="same name"):
        msgspec.convert({"kind": "local", "applications": [_APPLICATION, _APPLICATION]}, LocalSettings)
