"""Request bodies in JSON and MessagePack: what is refused, with which code, and how fast."""

from __future__ import annotations

import contextlib
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codec import decode, encode
from gateway.media import JSON, MSGPACK
from gateway.problems import ProblemError
from schemas.http import SubmitRequest, TaskSubmission

DEEP = 100_000

MALFORMED: list[tuple[str, str, bytes]] = [
    ("nothing", JSON, b""),
    ("nothing", MSGPACK, b""),
    ("no JSON", JSON, b"hello"),
    ("truncated", JSON, b'{"tasks":[{"taskInput":"YQ=='),
    ("truncated", MSGPACK, b"\x81\xa5tasks\x91\x81\xa9taskInput\xc4\x05a"),
    ("trailing data", JSON, b'{"tasks":[{"taskInput":"YQ=="}]} {}'),
    ("trailing data", MSGPACK, b"\x81\xa5tasks\x91\x81\xa9taskInput\xc4\x01a\x00"),
    ("not a number", JSON, b'{"tasks":[{"taskInput":"YQ==","timeoutInSec":NaN}]}'),
    ("lone surrogate", JSON, b'{"tasks":[{"taskInput":"YQ==","tag":"\\ud800 and more text"}]}'),
    ("lone surrogate", MSGPACK, b"\x81\xa5tasks\x91\x82\xa9taskInput\xc4\x01a\xa3tag\xa3\xed\xa0\x80"),
    ("invalid UTF-8", JSON, b'{"tasks":[{"taskInput":"YQ==","tag":"\xff"}]}'),
    ("invalid UTF-8", MSGPACK, b"\x81\xa5tasks\x91\x82\xa9taskInput\xc4\x01a\xa3tag\xa1\xff"),
    ("duplicate key", JSON, b'{"tasks":[{"taskInput":"YQ==","taskInput":"Yg=="}]}'),
    ("duplicate key, escaped", JSON, b'{"tasks":[{"taskInput":"YQ==","\\u0074askInput":"Yg=="}]}'),
    ("duplicate key outside", JSON, b'{"tasks":[{"taskInput":"YQ=="}],"tasks":[{"taskInput":"YQ=="}]}'),
    ("duplicate key", MSGPACK, b"\x81\xa5tasks\x91\x82\xa9taskInput\xc4\x01a\xa9taskInput\xc4\x01b"),
    ("duplicate key in two length forms", MSGPACK, b"\x81\xa5tasks\x91\x82\xa9taskInput\xc4\x01a\xd9\x09taskInput\xc4\x01b"),
    ("a list that claims to be huge", MSGPACK, b"\x81\xa5tasks\xdc\x27\x10"),
    ("nested too deep", JSON, b"[" * DEEP),
    ("nested too deep in a member", JSON, b'{"tasks":' + b"[" * DEEP),
    ("nested too deep", MSGPACK, b"\x91" * DEEP),
    ("nested too deep in wide lists", MSGPACK, b"\xdd\x00\x00\x00\x01" * DEEP),
]

UNFITTING: list[tuple[str, bytes]] = [
    ("unknown member", b'{"tasks":[{"taskInput":"YQ==","colour":"red"}]}'),
    ("member missing", b'{"tasks":[{}]}'),
    ("wrong type", b'{"tasks":{"taskInput":"YQ=="}}'),
    ("no base64", b'{"tasks":[{"taskInput":"Y!"}]}'),
    ("no task", b'{"tasks":[]}'),
    ("text for a number", b'{"tasks":[{"taskInput":"YQ==","taskPriority":"high"}]}'),
]


@pytest.mark.parametrize(("what", "media", "body"), MALFORMED, ids=[f"{media.rpartition('/')[2]}: {what}" for what, media, _ in MALFORMED])
def test_what_cannot_be_read_is_malformed(what: str, media: str, body: bytes) -> None:
    """A body that is no JSON or MessagePack, or that two readers could read differently, is refused with one stable code."""
    with pytest.raises(ProblemError) as caught:
        decode(body, media, SubmitRequest)
    assert caught.value.code == "malformed-body", what


@pytest.mark.parametrize(("what", "body"), UNFITTING, ids=[what for what, _ in UNFITTING])
def test_what_does_not_fit_the_schema_is_an_invalid_attribute(what: str, body: bytes) -> None:
    """A readable body that does not fit says where."""
    with pytest.raises(ProblemError) as caught:
        decode(body, JSON, SubmitRequest)
    assert caught.value.code == "invalid-attribute", what
    assert caught.value.detail


def test_a_deep_body_says_that_it_is_deep() -> None:
    """The detail names the reason and the bound."""
    with pytest.raises(ProblemError) as caught:
        decode(b"[" * DEEP, JSON, SubmitRequest)
    assert caught.value.detail == "nested deeper than 32"


def test_brackets_in_texts_are_no_depth() -> None:
    """A refused body with brackets inside its texts is not called deep."""
    with pytest.raises(ProblemError) as caught:
        decode(b'{"tasks":[{"taskInput":"' + b"[" * 100 + b'"}]}', JSON, SubmitRequest)
    assert caught.value.code == "invalid-attribute"


def test_other_media_types_are_refused() -> None:
    """A form, which HttpURLConnection sends by default, is answered 415."""
    with pytest.raises(ProblemError) as caught:
        decode(b"a=b", "application/x-www-form-urlencoded", SubmitRequest)
    assert caught.value.code == "unsupported-media-type"


def test_hostile_bodies_take_bounded_time() -> None:
    """The largest body that is let in is judged in less than two seconds, whatever is in it."""
    size = 16 * 1024 * 1024
    for body, media in ((b"[" * size, JSON), (b'{"tasks":[' + b"{}," * (size // 3), JSON), (b"\x91" * size, MSGPACK), (b'"' + b"[" * size + b'"', JSON)):
        began = time.perf_counter()
        with pytest.raises(ProblemError):
            decode(body, media, SubmitRequest)
        assert time.perf_counter() - began < 2


def test_the_longest_forms_of_messagepack_are_read() -> None:
    """Length forms that are longer than needed are legal and no reason to refuse."""
    body = b"\xdf\x00\x00\x00\x01\xd9\x05tasks\xdd\x00\x00\x00\x01\xde\x00\x02\xdb\x00\x00\x00\x09taskInput\xc6\x00\x00\x00\x01a\xactaskPriority\xcd\x00\x07"
    assert decode(body, MSGPACK, SubmitRequest) == SubmitRequest(tasks=[TaskSubmission(task_input=b"a", task_priority=7)])


@given(
    st.lists(
        st.builds(TaskSubmission, task_input=st.binary(max_size=64), tag=st.text("abc-_", max_size=8), task_priority=st.integers(1, 10_000)),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from([JSON, MSGPACK]),
)
def test_what_is_written_is_read(tasks: list[TaskSubmission], media: str) -> None:
    """Both codecs give back what was put in."""
    request = SubmitRequest(tasks=tasks)
    assert decode(encode(request, media), media, SubmitRequest) == request


@given(st.binary(max_size=400), st.sampled_from([JSON, MSGPACK]))
def test_noise_never_fails_otherwise(noise: bytes, media: str) -> None:
    """Any bytes are either a body or a problem."""
    with contextlib.suppress(ProblemError):
        assert decode(noise, media, SubmitRequest).tasks


def test_a_bulk_of_a_hundred_costs_few_microseconds_a_task() -> None:
    """Reading 100 inputs of 1 KiB stays far below what the broker's confirm costs."""
    request = SubmitRequest(tasks=[TaskSubmission(task_input=bytes(1024)) for _ in range(100)])
    body = msgspec.msgpack.encode(request)
    best = min(_seconds(body) for _ in range(20))
    assert best / 100 < 20e-6


def _seconds(body: bytes) -> float:
    began = time.perf_counter()
    decode(body, MSGPACK, SubmitRequest)
    return time.perf_counter() - began
