"""The client's own records and the server's schemas say the same on the wire."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

import schemas.http as server
import schemas.problems as server_problems
import schemas.symphony as server_symphony
import sluiceway.records as client
from sluiceway.packing import pack, unpack
from sluiceway.records.wire import wire_form, wire_name

_PAIRS = {
    name: getattr(module, name)
    for module in (server, server_symphony, server_problems)
    for name in module.__all__
    if isinstance(getattr(module, name), type) and issubclass(getattr(module, name), msgspec.Struct) and name != "ProblemKind"
}


def _client_records() -> set[str]:
    return {name for name in client.__all__ if dataclasses.is_dataclass(getattr(client, name))}


def test_every_body_has_a_record() -> None:
    """The client has a record for each body of the interface, and no other."""
    assert _client_records() == set(_PAIRS)


@pytest.mark.parametrize("name", sorted(_PAIRS))
def test_field_names_agree(name: str) -> None:
    """A record has exactly the members of the server's body, under the same names on the wire."""
    record = getattr(client, name)
    ours = {wire_name(record, one.name) for one in dataclasses.fields(record)}
    theirs = {one.encode_name for one in msgspec.structs.fields(_PAIRS[name])}
    assert ours == theirs


@pytest.mark.parametrize("name", sorted(_PAIRS))
def test_defaults_agree(name: str) -> None:
    """What the server may leave out, the client has a default for; what it requires, the client always sends."""
    record = getattr(client, name)
    optional = {wire_name(record, one.name) for one in dataclasses.fields(record) if one.default is not dataclasses.MISSING}
    theirs = {one.encode_name for one in msgspec.structs.fields(_PAIRS[name]) if not one.required}
    if name == "Problem":
        # A proxy's answer is read as a problem too, so the client is content with less.
        assert theirs < optional
    elif name == "FetchAnswer":
        assert optional == {"rewound"}
    else:
        assert optional == theirs


_REQUESTS: list[tuple[object, type]] = [
    (client.ConnectRequest(grid="G", cluster_url="c", application_name="A", username="u", password="p"), server.ConnectRequest),
    (client.ConnectRequest(application_name="A"), server.ConnectRequest),
    (client.SessionCreationAttributes(name="n", flags=("SEND_SYNC",), priority=7, preemptive=False), server.SessionCreationAttributes),
    (client.SubmitRequest(tasks=(client.TaskSubmission(task_input=b"\0x", tag="t", timeout_in_sec=2.5),)), server.SubmitRequest),
    (client.OpenSessionRequest(session_id="s"), server.OpenSessionRequest),
    (client.CloseRequest(close_flags="DETACH_ON_CLOSE"), server.CloseRequest),
    (client.PriorityRequest(priority=3), server.PriorityRequest),
    (client.CancelRequest(task_ids=("a", "b")), server.CancelRequest),
    (client.CancelRequest(tag="t"), server.CancelRequest),
]


@pytest.mark.parametrize(("record", "body"), _REQUESTS)
def test_requests_are_read(record: object, body: type) -> None:
    """The server reads what the client packs, member for member."""
    sent = wire_form(record)
    assert msgspec.to_builtins(msgspec.msgpack.decode(pack(sent), type=body), builtin_types=(bytes,)) == sent


_EMBEDDED = server_symphony.EmbeddedException(error_type="FailureException", error_code=-5, message="inner")
_EXCEPTION = server_symphony.SymphonyException(error_type="FatalException", error_code=9, code="service-exception", message="outer", embedded=_EMBEDDED)
_ANSWERS: list[msgspec.Struct] = [
    server.ConnectAnswer(connection_id="c", grid="G", application_name="A"),
    server.SessionAnswer(session_id="s", state="open", grid="G", cluster="C", native_id="4", cursor="0"),
    server.SessionList(
        sessions=[
            server.SessionDescription(
                session_id="s",
                state="open",
                grid="G",
                cluster="C",
                application_name="A",
                priority=5,
                created_at=2.5,
                tasks=server.TaskCounts(done=3, canceled=1),
                last_sequence=4,
            ),
            server.SessionDescription(session_id="t", state="closed", grid="G", cluster="C", application_name="A"),
        ],
        complete=False,
    ),
    server.SubmitAnswer(tasks=[server.SubmittedTask(task_id="a"), server.SubmittedTask(error=server.ItemError(code="task-too-large", detail="d"))]),
    server.FetchAnswer(
        outputs=[
            server.TaskOutputItem(task_id="a", sequence=1, successful=True, output=b"", finished_at=3.0),
            server.TaskOutputItem(task_id="b", sequence=2, successful=False, tag="x", exception=_EXCEPTION),
        ],
        cursor="2",
        more=False,
        ended=True,
        rewound=True,
    ),
    server.CancelAnswer(requested=4),
    server.GridList(grids=[server.GridDescription(name="G", state="up", applications=["A"], clusters=["C"], log_on="password")]),
]


def _plain(value: Any) -> Any:  # noqa: ANN401 - any record
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {wire_name(type(value), one.name): _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value


def _full(value: Any) -> Any:  # noqa: ANN401 - any body
    if isinstance(value, msgspec.Struct):
        return {one.encode_name: _full(getattr(value, one.name)) for one in msgspec.structs.fields(value)}
    if isinstance(value, list):
        return [_full(one) for one in value]
    return None if value is msgspec.UNSET else value


@pytest.mark.parametrize("answer", _ANSWERS)
def test_answers_are_read(answer: msgspec.Struct) -> None:
    """The client reads what the server packs, defaults included."""
    record = getattr(client, type(answer).__name__)
    assert _plain(record.read(unpack(msgspec.msgpack.encode(answer)))) == _full(answer)
