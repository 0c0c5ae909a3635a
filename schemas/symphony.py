"""Symphony's vocabulary: what clients may say about sessions and tasks, with unset kept apart from 0 and "".

Facts are from the public client API references (Java 4.1 to 5.1, COM 4.1, SYMREST 7.3). An attribute that a client leaves out stays
``UNSET`` all the way to the grid, where the application profile's default applies.
"""

from __future__ import annotations

import re
from enum import IntFlag, StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

__all__ = [
    "PRIORITY_MAX",
    "PRIORITY_MIN",
    "CloseFlags",
    "EmbeddedException",
    "ErrorType",
    "SessionCreationAttributes",
    "SessionFlags",
    "SessionState",
    "SymphonyException",
    "TaskState",
    "VocabularyError",
    "check_attributes",
    "check_priority",
    "check_task_tag",
    "parse_close_flags",
    "parse_session_flags",
]

PRIORITY_MIN: Final = 1
PRIORITY_MAX: Final = 10_000
"""Priorities run from 1 to 10000, 10000 the highest (Symphony 7.3.2, management of sessions)."""

_SESSION_TAG = re.compile(r"[A-Za-z0-9_-]{0,128}\Z")
_TASK_TAG = re.compile(r"(?!-)[A-Za-z0-9_-]{0,128}\Z")
_NUMBER = re.compile(r"[0-9]{1,9}\Z")
_TYPE_NAME = re.compile(r"[\x20-\x7e]{0,256}\Z")


class VocabularyError(ValueError):
    """An attribute has a value that Symphony does not know.

    Args:
        attribute: The attribute's name as clients write it.
        reason: What is wrong and what is allowed.
    """

    def __init__(self, attribute: str, reason: str) -> None:
        super().__init__(f"{attribute}: {reason}")
        self.attribute = attribute
        self.reason = reason


class SessionFlags(IntFlag):
    """How a session sends and receives (Java ``Session.*``, Python ``SessionFlags.*``, C++ ``SF_*``)."""

    SEND_SYNC = 1
    SEND_OVERLAPPED = 2
    RECEIVE_SYNC = 4
    RECEIVE_ASYNC = 8
    FETCH_RESULTS_DIRECTLY = 16
    SYNC = 5
    PARTIAL_ASYNC = 9


class CloseFlags(IntFlag):
    """What becomes of a session's work when it is closed. Unset means DESTROY, as in ``Session.close()``."""

    DESTROY_ON_CLOSE = 1
    DETACH_ON_CLOSE = 2


class SessionState(StrEnum):
    """Symphony's session states; ``pending`` is ours: no bridge has claimed the session yet."""

    PENDING = "pending"
    OPEN = "open"
    SUSPENDED = "suspended"
    CLOSED = "closed"
    ABORTED = "aborted"


class TaskState(StrEnum):
    """Symphony's task states as far as a client can meet them."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    ERROR = "error"
    CANCELED = "canceled"


class ErrorType(StrEnum):
    """``SoamException.getErrorType()``; ``Cancelled`` is ours, for tasks that were taken back."""

    FAILURE = "FailureException"
    FATAL = "FatalException"
    CANCELLED = "Cancelled"


class EmbeddedException(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The exception that the service itself threw."""

    error_type: str
    error_code: int = 0
    message: str = ""


class SymphonyException(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Why a task failed: ``SoamException`` with its embedded exception.

    ``code`` is ours: a stable word such as ``service-exception``, ``service-exited``, ``task-timeout``, ``cancelled``.
    """

    error_type: str
    error_code: int = 0
    code: str
    message: str = ""
    embedded: EmbeddedException | None = None


class SessionCreationAttributes(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True):
    """``com.platform.symphony.soam.SessionCreationAttributes``: names as in the original requirement, all optional.

    ``flags`` takes names or a number (see ``parse_session_flags``).
    """

    name: Annotated[str, Meta(max_length=256, description="Free text, need not be unique.")] | UnsetType = UNSET
    type: Annotated[str, Meta(max_length=256, description="A session type of the application profile; empty means its default.")] | UnsetType = UNSET
    flags: Annotated[int | str | list[str], Meta(description="Names (`RECEIVE_SYNC`, `SEND_SYNC|RECEIVE_SYNC`, a list) or the number.")] | UnsetType = UNSET
    tag: Annotated[str, Meta(max_length=128, description="Letters, digits, - and _.")] | UnsetType = UNSET
    priority: Annotated[int, Meta(ge=PRIORITY_MIN, le=PRIORITY_MAX, description="1 to 10000, 10000 first.")] | UnsetType = UNSET
    compression_enable: bool | UnsetType = UNSET
    threshold: Annotated[int, Meta(ge=0, description="Bytes above which a message is compressed.")] | UnsetType = UNSET
    data_compression_flag: Annotated[str, Meta(description="`BestSpeed` or `BetterSize`.")] | UnsetType = UNSET
    direct_data_transfer_enable: bool | UnsetType = UNSET
    service_name: Annotated[str, Meta(max_length=256)] | UnsetType = UNSET
    preemptive: bool | UnsetType = UNSET
    preemption_rank: int | UnsetType = UNSET
    reclaim_rank: int | UnsetType = UNSET
    resource_group_filter: Annotated[str, Meta(max_length=1024)] | UnsetType = UNSET
    resource_preference: Annotated[str, Meta(max_length=1024)] | UnsetType = UNSET
    service_to_slot_ratio: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET


_FLAG_NAMES: Final = {
    **{flag.name: flag for flag in SessionFlags if flag.name},
    "SYNC": SessionFlags.SYNC,
    "PARTIAL_ASYNC": SessionFlags.PARTIAL_ASYNC,
    "ALIAS_SYNC": SessionFlags.SYNC,
    "ALIAS_PARTIAL_ASYNC": SessionFlags.PARTIAL_ASYNC,
}
_CLOSE_NAMES: Final = {flag.name: flag for flag in CloseFlags if flag.name}


def _flag_key(word: str) -> str:
    """``SendSync``, ``SF_SEND_SYNC``, ``send_sync`` and ``SEND_SYNC`` are one name."""
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", word.strip()).upper()
    return re.sub(r"^(SF|SCF)_", "", snake)


def _parse(value: int | str | list[str], names: dict[str, SessionFlags] | dict[str, CloseFlags], attribute: str) -> int:
    """Add up flags given as a number, as names joined by ``|`` or as a list of names."""
    if isinstance(value, bool):
        raise VocabularyError(attribute, "must be a number or names, not true or false")
    if isinstance(value, int):
        return value
    words = value if isinstance(value, list) else value.split("|")
    total = 0
    for word in words:
        if _NUMBER.match(word.strip()):
            total |= int(word)
            continue
        key = _flag_key(word)
        if key not in names:
            raise VocabularyError(attribute, f"unknown flag {word.strip()[:64]!r}; known are {', '.join(sorted(names))}")
        total |= names[key]
    return total


def parse_session_flags(value: int | str | list[str]) -> SessionFlags:
    """Read session flags given by name (any of Symphony's spellings) or number.

    Raises:
        VocabularyError: An unknown name or bit, or flags that contradict each other.
    """
    bits = _parse(value, _FLAG_NAMES, "flags")
    if bits < 0 or bits & ~0x1F:
        raise VocabularyError("flags", f"unknown bits in {bits}; the sum of all known flags is 31")
    flags = SessionFlags(bits)
    if flags & SessionFlags.RECEIVE_SYNC and flags & SessionFlags.RECEIVE_ASYNC:
        raise VocabularyError("flags", "RECEIVE_SYNC and RECEIVE_ASYNC exclude each other")
    if flags & SessionFlags.SEND_SYNC and flags & SessionFlags.SEND_OVERLAPPED:
        raise VocabularyError("flags", "SEND_SYNC and SEND_OVERLAPPED exclude each other")
    if flags & SessionFlags.FETCH_RESULTS_DIRECTLY and flags & SessionFlags.RECEIVE_ASYNC:
        raise VocabularyError("flags", "FETCH_RESULTS_DIRECTLY is for RECEIVE_SYNC")
    return flags


def parse_close_flags(value: int | str | list[str]) -> CloseFlags:
    """Read close flags given by name or number; 0 and "" mean the default, DESTROY_ON_CLOSE.

    Raises:
        VocabularyError: An unknown name or bit, or both flags at once.
    """
    if value in (0, ""):
        return CloseFlags.DESTROY_ON_CLOSE
    bits = _parse(value, _CLOSE_NAMES, "closeFlags")
    if bits not in (CloseFlags.DESTROY_ON_CLOSE, CloseFlags.DETACH_ON_CLOSE):
        raise VocabularyError("closeFlags", "must be DESTROY_ON_CLOSE (1) or DETACH_ON_CLOSE (2)")
    return CloseFlags(bits)


def check_task_tag(tag: str) -> str:
    """Return ``tag`` when Symphony would take it: up to 128 letters, digits, ``-`` and ``_``, not beginning with ``-``.

    Raises:
        VocabularyError: Any other tag.
    """
    if not _TASK_TAG.match(tag):
        raise VocabularyError("tag", "must be up to 128 letters, digits, '-' and '_', and must not begin with '-'")
    return tag


def check_priority(priority: int) -> int:
    """Return ``priority`` when it is within 1 to 10000.

    Raises:
        VocabularyError: Any other number.
    """
    if not PRIORITY_MIN <= priority <= PRIORITY_MAX:
        raise VocabularyError("priority", f"must be {PRIORITY_MIN} to {PRIORITY_MAX}")
    return priority


def check_attributes(attributes: SessionCreationAttributes) -> SessionFlags | UnsetType:
    """Check what a schema cannot say; return the flags as bits, or UNSET.

    Direct data transfer is refused: a client behind HTTPS can never be the peer that a service instance dials
    (Symphony 7.3.1, direct data transfer).

    Raises:
        VocabularyError: Forbidden characters, unknown or contradictory flags.
    """
    if attributes.tag is not UNSET and not _SESSION_TAG.match(attributes.tag):
        raise VocabularyError("tag", "must be up to 128 letters, digits, '-' and '_'")
    if attributes.type is not UNSET and not _TYPE_NAME.match(attributes.type):
        raise VocabularyError("type", "must be up to 256 printable characters")
    if attributes.data_compression_flag is not UNSET and attributes.data_compression_flag not in ("BestSpeed", "BetterSize"):
        raise VocabularyError("dataCompressionFlag", "must be BestSpeed or BetterSize")
    if attributes.direct_data_transfer_enable is True:
        raise VocabularyError("directDataTransferEnable", "a client behind HTTPS cannot take part in direct data transfer")
    if attributes.compression_enable is False and attributes.threshold is not UNSET:
        raise VocabularyError("threshold", "contradicts compressionEnable = false")
    return UNSET if attributes.flags is UNSET else parse_session_flags(attributes.flags)
