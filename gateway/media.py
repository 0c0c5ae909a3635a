"""Which media type a request has and which one its answer shall have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.problems import ProblemError

__all__ = ["EVENTS", "JSON", "MSGPACK", "OCTETS", "choose", "plain_type"]

JSON: Final = "application/json"
MSGPACK: Final = "application/msgpack"
OCTETS: Final = "application/octet-stream"
EVENTS: Final = "text/event-stream"

_SYNONYMS: Final = {"application/x-msgpack": MSGPACK, "application/vnd.msgpack": MSGPACK, "text/json": JSON}
_MAX_RANGES: Final = 32


def plain_type(value: str) -> str:
    """Return a Content-Type without its parameters, in lower case, synonyms made one."""
    plain = value.partition(";")[0].strip().lower()
    return _SYNONYMS.get(plain, plain)


def choose(accept: str, offered: Sequence[str]) -> str:
    """Return the offered type that ``accept`` likes best; the first one when all are equal.

    ``*`` alone counts as ``*/*``: Java's HttpURLConnection sends it (``text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2``).

    Raises:
        ProblemError: ``not-acceptable``.
    """
    if not accept or accept == "*/*" or accept == offered[0]:
        return offered[0]
    ranges = [_parse(part) for part in accept.split(",", _MAX_RANGES)[:_MAX_RANGES]]
    best, best_quality = "", 0.0
    for kind in offered:
        quality = _quality(kind, ranges)
        if quality > best_quality:
            best, best_quality = kind, quality
    if not best:
        raise ProblemError("not-acceptable", f"offered are {', '.join(offered)}")
    return best


def _parse(part: str) -> tuple[str, float]:
    kind, *parameters = part.split(";")
    quality = 1.0
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "q":
            try:
                quality = min(max(float(value), 0.0), 1.0)
            except ValueError:
                quality = 0.0
    name = plain_type(kind)
    return ("*/*" if name == "*" else name), quality


def _quality(kind: str, ranges: list[tuple[str, float]]) -> float:
    """The most specific range decides (RFC 9110, 12.5.1)."""
    for wanted in (kind, f"{kind.partition('/')[0]}/*", "*/*"):
        found = [quality for name, quality in ranges if name == wanted]
        if found:
            return max(found)
    return 0.0
