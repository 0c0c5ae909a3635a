"""The bytes of the few AMQP 0.9.1 frames that are sent for every message."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from pamqp import commands as spec
from pamqp.body import ContentBody
from pamqp.frame import marshal
from pamqp.header import ContentHeader

__all__ = ["ack_frame", "close_frame", "nack_frame", "publish_frames"]

_ACK: Final = struct.Struct(">BHIHHQBB")
_METHOD: Final = 1
_FRAME_END: Final = 0xCE
_BASIC: Final = 60
_BASIC_ACK: Final = 80
_BASIC_NACK: Final = 120
_ACK_BYTES: Final = 13
_REQUEUE: Final = 2


def close_frame(channel: int) -> bytes:
    """Return ``channel.close``."""
    return marshal(spec.Channel.Close(reply_code=200, reply_text="", class_id=0, method_id=0), channel)


def ack_frame(channel: int, tag: int, *, multiple: bool = False) -> bytes:
    """Return ``basic.ack``."""
    return _ACK.pack(_METHOD, channel, _ACK_BYTES, _BASIC, _BASIC_ACK, tag, multiple, _FRAME_END)


def nack_frame(channel: int, tag: int, *, requeue: bool = True) -> bytes:
    """Return ``basic.nack`` of one delivery."""
    return _ACK.pack(_METHOD, channel, _ACK_BYTES, _BASIC, _BASIC_NACK, tag, _REQUEUE if requeue else 0, _FRAME_END)


def publish_frames(  # noqa: PLR0913 - a message has that many parts
    channel: int,
    *,
    exchange: str,
    key: str,
    body: bytes,
    headers: Mapping[str, int | str],
    message_id: str,
    mandatory: bool,
    persistent: bool,
    largest: int,
) -> bytes:
    """Return ``basic.publish`` with its header and body frames, the body in pieces of at most ``largest`` bytes."""
    properties = spec.Basic.Properties(headers=dict(headers), delivery_mode=2 if persistent else 1, message_id=message_id)
    parts = [
        marshal(spec.Basic.Publish(exchange=exchange, routing_key=key, mandatory=mandatory), channel),
        marshal(ContentHeader(properties=properties, body_size=len(body)), channel),
    ]
    parts += [marshal(ContentBody(body[at : at + largest]), channel) for at in range(0, len(body), largest)]
    return b"".join(parts)
