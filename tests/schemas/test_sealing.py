"""Sealed texts: the same everywhere, openable only where they belong, and nothing else is believed."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.cursors import START, Cursor, open_cursor, seal_cursor
from schemas.ids import (
    ConnectionId,
    Position,
    SessionId,
    open_connection_id,
    open_session_id,
    seal_connection_id,
    seal_session_id,
    split_task_id,
    task_id,
    task_id_from_text,
    task_id_text,
)
from schemas.sealing import KeyRing, SealError, open_sealed, seal

RING = KeyRing(current="a", keys={"a": b"a" * 32})
ROTATED = KeyRing(current="b", keys={"a": b"a" * 32, "b": b"b" * 32})
SESSION = SessionId(sid=b"s" * 16, cluster="c", lane=3, grid="G", application="app", principal="p", connection=b"c" * 16, born=Position(7, "0011:2"))


@given(plain=st.binary(max_size=200), context=st.binary(max_size=20))
def test_sealing_is_repeatable_and_reversible(plain: bytes, context: bytes) -> None:
    """Two gateways make the same text, and any of them opens it."""
    text = seal(RING, "cursor", plain, context=context)

    assert text == seal(RING, "cursor", plain, context=context)
    assert open_sealed(RING, "cursor", text, context=context) == plain
    assert open_sealed(ROTATED, "cursor", text, context=context) == plain


def test_a_text_opens_only_as_what_it_was_sealed_for() -> None:
    """Another kind, another context, another key: refused alike."""
    text = seal(ROTATED, "cursor", b"x", context=b"one")

    for ring, kind, context in ((ROTATED, "session", b"one"), (ROTATED, "cursor", b"two"), (RING, "cursor", b"one")):
        with pytest.raises(SealError):
            open_sealed(ring, kind, text, context=context)


@given(at=st.integers(0, 10**6), change=st.integers(1, 255))
def test_any_altered_byte_is_noticed(at: int, change: int) -> None:
    """Every byte of the text is under the seal."""
    text = seal(RING, "cursor", b"a cursor")
    raw = bytearray(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    raw[at % len(raw)] ^= change

    with pytest.raises(SealError):
        open_sealed(RING, "cursor", base64.urlsafe_b64encode(raw).rstrip(b"=").decode())


@given(text=st.text(max_size=80))
def test_no_text_makes_opening_fail_otherwise(text: str) -> None:
    """Whatever a client sends is refused in one way."""
    with pytest.raises(SealError):
        open_sealed(RING, "cursor", text)


def test_a_value_has_one_spelling() -> None:
    """Unused low bits and padding are refused."""
    text = next(one for size in range(1, 4) if len(one := seal(RING, "cursor", b"x" * size)) % 4)
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

    for other in (text[:-1] + last[(last.index(text[-1]) + 1) % 64], text + "=", text + " "):
        with pytest.raises(SealError):
            open_sealed(RING, "cursor", other)


@pytest.mark.parametrize("keys", [{"b": b"k" * 32}, {"a": b"short"}, {"a": b"k" * 32, "n" * 33: b"k" * 32}, {"a": b"k" * 32, "": b"k" * 32}])
def test_an_impossible_key_ring_is_refused(keys: dict[str, bytes]) -> None:
    """The current key has to be there, keys have 32 bytes, names 1 to 32 characters."""
    with pytest.raises(ValueError, match="key"):
        KeyRing(current="a", keys=keys)


def test_ids_carry_what_they_say() -> None:
    """Connection and session ids come back whole, and are not each other."""
    connection = ConnectionId(nonce=b"n" * 16, grid="G", cluster="", application="app", principal="p", issued=5)

    assert open_session_id(RING, seal_session_id(RING, SESSION)) == SESSION
    assert open_connection_id(RING, seal_connection_id(RING, connection)) == connection
    with pytest.raises(SealError):
        open_session_id(RING, seal_connection_id(RING, connection))


def test_a_cursor_belongs_to_its_session() -> None:
    """Another session's cursor is refused; the start can be sealed too."""
    cursor = Cursor(num=3, nonce=b"12345678", next=9, at=Position(4, "x:1"))

    assert open_cursor(RING, b"s" * 16, seal_cursor(RING, b"s" * 16, cursor)) == cursor
    assert open_cursor(RING, b"s" * 16, seal_cursor(RING, b"s" * 16, START)) == START
    with pytest.raises(SealError):
        open_cursor(RING, b"t" * 16, seal_cursor(RING, b"s" * 16, cursor))


@pytest.mark.parametrize(("version", "readable"), [(0, True), (1, True), (2, False), (-1, False)])
def test_cursors_and_ids_of_the_version_before_are_read(version: int, *, readable: bool) -> None:
    """Version n and n-1 open, others are refused."""
    cursor = seal_cursor(RING, b"s" * 16, Cursor(version=version))
    session = seal_session_id(RING, SessionId(**{name: getattr(SESSION, name) for name in SESSION.__struct_fields__} | {"version": version}))

    if readable:
        assert open_cursor(RING, b"s" * 16, cursor).version == version
        assert open_session_id(RING, session).version == version
        return
    with pytest.raises(SealError):
        open_cursor(RING, b"s" * 16, cursor)
    with pytest.raises(SealError):
        open_session_id(RING, session)


@given(key=st.binary(min_size=16, max_size=16), fp=st.binary(min_size=4, max_size=4), index=st.integers(0, 2**32 - 1))
def test_task_ids_are_taken_apart_again(key: bytes, fp: bytes, index: int) -> None:
    """A task id is its parts, and its text is itself."""
    made = task_id(key, fp, index)

    assert split_task_id(made) == (key, fp, index)
    assert task_id_from_text(task_id_text(made)) == made


@given(text=st.text(max_size=40))
def test_other_texts_are_no_task_ids(text: str) -> None:
    """What is not 32 characters of URL-safe base64 is refused; what is, has one spelling."""
    try:
        made = task_id_from_text(text)
    except ValueError:
        return
    assert task_id_text(made) == text
