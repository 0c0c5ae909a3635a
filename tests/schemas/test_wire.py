"""What goes over the broker comes back as it was; damage and foreign versions are told, never guessed."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.control import Acknowledge, Beat, ControlMessage, Doubt, Reply, Request, Verb, decode_control, encode_control
from schemas.ids import Position
from schemas.messages import (
    Claim,
    InputHeaders,
    InputKind,
    SubmissionRange,
    TaskInput,
    decode_claim,
    decode_inputs,
    decode_token,
    encode_claim,
    encode_inputs,
    encode_token,
)
from schemas.records import (
    CancelledTag,
    Closed,
    CommonData,
    EpochBase,
    FinishedSubmission,
    Mark,
    Opened,
    Outputs,
    RecordBody,
    RecordError,
    RecordHeaders,
    RecordKind,
    Refused,
    SessionControls,
    Snapshot,
    StateChange,
    TaskOutput,
    body_digest,
    decode_body,
    encode_body,
)
from schemas.symphony import SessionCreationAttributes, SymphonyException
from schemas.versions import UnknownVersionError

FAILURE = SymphonyException(error_type="FailureException", code="service-exception", message="m")
CONTROLS = SessionControls(suspended=True, priority=5, cancelled_ids=[b"t"], cancelled_tags=[CancelledTag("tag", b"f")], closing=1, opened=True)
BODIES: list[tuple[RecordKind, RecordBody]] = [
    (RecordKind.MARK, Mark("claim")),
    (RecordKind.SNAP, Snapshot(part=1, parts=2, at=3, acked=2, upto=4, history=[EpochBase(1, b"n", 1)], controls=CONTROLS)),
    (RecordKind.SNAP, Snapshot(part=2, parts=2, at=3, acked=2, upto=4, done=[FinishedSubmission(b"k", b"f", 9, 3, b"\x01")], common_data=b"")),
    (RecordKind.OUTS, Outputs([TaskOutput(b"t", 1, "", 1.5, b""), TaskOutput(b"u", 1, "x", 2.0, None, FAILURE)])),
    (RecordKind.OPENED, Opened(native_id="n")),
    (RecordKind.REFUSED, Refused(code="lane-busy", message="m")),
    (RecordKind.STATE, StateChange(acked=4, controls=CONTROLS)),
    (RecordKind.COMMON, CommonData(key=b"k", data=b"d")),
    (RecordKind.CLOSED, Closed(last=9, reason="r", aborted=True)),
]
MESSAGES: list[ControlMessage] = [
    Acknowledge(sid=b"s", num=1, nonce=b"n", next=4),
    Doubt(sid=b"s"),
    Request(id="1", reply_to="gateway.a", verb=Verb.CANCEL, task_ids=[b"t"]),
    Reply(id="1", worker="w", code="unknown-task"),
    Beat(cluster="c", worker="w", kind="local", applications=["a"], sessions=[b"s"], capacity=3, slots=2),
]
CLAIM = Claim(
    sid=b"s" * 16,
    cluster="c",
    lane=1,
    grid="G",
    application="a",
    principal="p",
    connection=b"c" * 16,
    attributes=SessionCreationAttributes(name="", priority=1),
    born=Position(3, "x:1"),
    created_at=1.0,
)


def headers_for(kind: RecordKind, raw: bytes) -> RecordHeaders:
    """Headers of a record with this body."""
    return RecordHeaders(
        sid=b"s" * 16,
        num=2,
        nonce=b"12345678",
        pub=3,
        kind=kind,
        worker="w",
        digest=body_digest(raw),
        scan=Position(5, "ab:1"),
        acked=4,
        first=6 if kind is RecordKind.OUTS else 0,
        count=2 if kind is RecordKind.OUTS else 0,
    )


@pytest.mark.parametrize(("kind", "body"), BODIES)
def test_records_come_back_as_they_were(kind: RecordKind, body: RecordBody) -> None:
    """Headers through the AMQP table and bodies through their bytes."""
    raw = encode_body(body)
    headers = headers_for(kind, raw)

    assert RecordHeaders.from_table(headers.to_table()) == headers
    assert decode_body(headers, raw) == body


def test_a_damaged_or_foreign_body_is_told() -> None:
    """One flipped bit, bytes that are no MessagePack, and a body of another kind."""
    raw = encode_body(Mark("claim"))

    for headers, body in (
        (headers_for(RecordKind.MARK, raw), bytes([raw[0] ^ 1]) + raw[1:]),
        (headers_for(RecordKind.MARK, b"\xc1"), b"\xc1"),
        (headers_for(RecordKind.OPENED, raw), raw),
    ):
        with pytest.raises(RecordError):
            decode_body(headers, body)


@pytest.mark.parametrize("name", ["sid", "num", "nonce", "pub", "kind", "worker", "digest"])
def test_headers_without_a_part_are_no_record(name: str) -> None:
    """Each of them is needed, and none may be of another type."""
    table: dict[str, object] = dict(headers_for(RecordKind.MARK, b"").to_table())

    with pytest.raises(RecordError):
        RecordHeaders.from_table({key: value for key, value in table.items() if key != name})
    if name != "worker":
        with pytest.raises(RecordError):
            RecordHeaders.from_table(table | {name: "never this"})


@pytest.mark.parametrize(("version", "readable"), [(0, True), (1, True), (2, False), ("1", False), (True, False), (None, False)])
def test_versions_are_checked_everywhere(version: object, *, readable: bool) -> None:
    """Version n and n-1 are read, others refused, for records, inputs, claims, tokens and control messages."""
    record = headers_for(RecordKind.MARK, b"").to_table() | {"v": version}
    run = SubmissionRange(b"k" * 16, b"fpfp", 1, 0, 1)
    inputs = InputHeaders(sid=b"s", kind=InputKind.INPUTS, ranges=(run,), digest=b"d").to_table() | {"v": version}

    def read_all() -> None:
        RecordHeaders.from_table(record)
        InputHeaders.from_table(inputs)
        for raw, decode in ((encode_claim(CLAIM), decode_claim), (encode_token(4), decode_token), (encode_control(MESSAGES[0]), decode_control)):
            decode(msgspec.msgpack.encode(msgspec.msgpack.decode(raw) | {"version": version}))

    if readable:
        read_all()
        return
    with pytest.raises(UnknownVersionError):
        RecordHeaders.from_table(record)
    with pytest.raises(UnknownVersionError):
        InputHeaders.from_table(inputs)
    for raw, decode in ((encode_claim(CLAIM), decode_claim), (encode_token(4), decode_token), (encode_control(MESSAGES[0]), decode_control)):
        with pytest.raises(RecordError):
            decode(msgspec.msgpack.encode(msgspec.msgpack.decode(raw) | {"version": version}))


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_control_messages_come_back_as_they_were(message: ControlMessage) -> None:
    """Each kind is told apart by its tag."""
    assert decode_control(encode_control(message)) == message


def test_claims_and_tokens_come_back_as_they_were() -> None:
    """Attributes that were left out stay unset, those set to an empty text do not."""
    assert decode_claim(encode_claim(CLAIM)) == CLAIM
    assert decode_claim(encode_claim(CLAIM)).attributes.name == ""
    assert decode_claim(encode_claim(CLAIM)).attributes.tag is msgspec.UNSET
    assert decode_token(encode_token(4)).lane == 4


@given(raw=st.binary(max_size=60))
def test_garbage_is_refused_in_one_way(raw: bytes) -> None:
    """No bytes from the broker make a decoder fail otherwise."""
    for decode in (decode_claim, decode_token, decode_control):
        with pytest.raises(RecordError):
            decode(raw)


def test_inputs_come_back_as_they_were() -> None:
    """Ranges in headers, tasks in the body; a wrong count or damage is told."""
    runs = (SubmissionRange(b"k" * 16, b"fpfp", 5, 1, 2), SubmissionRange(b"l" * 16, b"fpfp", 1, 0, 1))
    tasks = [TaskInput(b"1"), TaskInput(b"2", "tag", 3, 1.5), TaskInput(b"")]
    body = encode_inputs(tasks)
    headers = InputHeaders(sid=b"s" * 16, kind=InputKind.INPUTS, ranges=runs, digest=body_digest(body))

    assert InputHeaders.from_table(headers.to_table()) == headers
    assert headers.count == 3
    assert decode_inputs(headers, body) == tasks
    fewer = encode_inputs(tasks[:2])
    for wrong, raw in ((headers, body + b"x"), (msgspec.structs.replace(headers, digest=body_digest(fewer)), fewer)):
        with pytest.raises(RecordError):
            decode_inputs(wrong, raw)


@pytest.mark.parametrize("ranges", ["", "zz:00:1:0:1", f"{'00' * 16}:{'00' * 4}:2:1:2", f"{'00' * 16}:{'00' * 4}:2:0:0", f"{'00' * 15}:{'00' * 4}:1:0:1"])
def test_impossible_ranges_are_refused(ranges: str) -> None:
    """Beyond the submission, empty, or with a key of another length."""
    table = {"v": 1, "sid": "00", "kind": "inputs", "digest": "00", "ranges": ranges}

    with pytest.raises(RecordError):
        InputHeaders.from_table(table)
