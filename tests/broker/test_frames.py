"""Frames written by hand say what pamqp reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamqp import commands as spec
from pamqp.body import ContentBody
from pamqp.frame import unmarshal
from pamqp.header import ContentHeader

from broker.frames import ack_frame, close_frame, nack_frame, publish_frames

_SHORT = st.text(max_size=60)
_VALUES = st.one_of(st.integers(min_value=-(2**63), max_value=2**63 - 1), st.text())
_CHANNELS = st.integers(min_value=1, max_value=65535)
_TAGS = st.integers(min_value=1, max_value=2**63)


def read_all(raw: bytes) -> list[tuple[int, object]]:
    """Return the frames with their channels."""
    frames = list[tuple[int, object]]()
    while raw:
        taken, channel, frame = unmarshal(raw)
        frames.append((channel, frame))
        raw = raw[taken:]
    return frames


@given(
    channel=_CHANNELS,
    exchange=_SHORT.filter(lambda name: all(c.isascii() and (c.isalnum() or c in "-_.:") for c in name)),
    key=_SHORT,
    body=st.binary(max_size=300),
    headers=st.dictionaries(_SHORT, _VALUES, max_size=8),
    message_id=_SHORT,
    mandatory=st.booleans(),
    persistent=st.booleans(),
    largest=st.integers(min_value=1, max_value=200),
)
def test_published_message_reads_as_it_was_written(  # noqa: PLR0913, PLR0917 - a message has that many parts
    channel: int,
    exchange: str,
    key: str,
    body: bytes,
    headers: dict[str, int | str],
    message_id: str,
    mandatory: bool,  # noqa: FBT001 - hypothesis passes it by name
    persistent: bool,  # noqa: FBT001 - as above
    largest: int,
) -> None:
    """Pamqp reads back every part of a published message, its body in pieces of at most the largest size."""
    raw = publish_frames(
        channel,
        exchange=exchange,
        key=key,
        body=body,
        headers=headers,
        message_id=message_id,
        mandatory=mandatory,
        persistent=persistent,
        largest=largest,
    )

    (_, method), (_, content), *pieces = read_all(raw)

    assert isinstance(method, spec.Basic.Publish)
    assert isinstance(content, ContentHeader)
    properties = content.properties
    assert (method.exchange, method.routing_key, method.mandatory, method.immediate) == (exchange, key, mandatory, False)
    assert (content.body_size, properties.headers or {}, properties.message_id or "") == (len(body), headers, message_id)
    assert properties.delivery_mode == (2 if persistent else 1)
    assert b"".join(piece.value or b"" for _, piece in pieces if isinstance(piece, ContentBody)) == body
    assert all(len(piece.value or b"") <= largest for _, piece in pieces if isinstance(piece, ContentBody))


@given(channel=_CHANNELS, tag=_TAGS, flag=st.booleans())
def test_answers_read_as_they_were_written(channel: int, tag: int, flag: bool) -> None:  # noqa: FBT001 - hypothesis passes it by name
    """Pamqp reads back acknowledgements, refusals and the close of a channel."""
    raw = ack_frame(channel, tag, multiple=flag) + nack_frame(channel, tag, requeue=flag) + close_frame(channel)

    (_, ack), (_, nack), (at, close) = read_all(raw)

    assert isinstance(ack, spec.Basic.Ack)
    assert isinstance(nack, spec.Basic.Nack)
    assert isinstance(close, spec.Channel.Close)
    assert (ack.delivery_tag, ack.multiple, nack.delivery_tag, nack.requeue, nack.multiple) == (tag, flag, tag, flag, False)
    assert at == channel


@pytest.mark.parametrize(("headers", "message_id"), [({"n": 2**63}, "id"), ({"n": 1}, "x" * 256), ({"x" * 256: 1}, "id")])
def test_what_amqp_cannot_carry_is_refused(headers: dict[str, int | str], message_id: str) -> None:
    """A number of more than 64 bits and a name or id of more than 255 bytes are refused before anything is sent."""
    with pytest.raises(ValueError, match=r"64 bits|255 bytes"):
        publish_frames(1, exchange="e", key="k", body=b"", headers=headers, message_id=message_id, mandatory=True, persistent=True, largest=100)
