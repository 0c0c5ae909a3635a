"""What went wrong: problem documents and Symphony's exceptions."""

from __future__ import annotations

from dataclasses import dataclass

from sluiceway.fields import Fields

__all__ = [
    "EmbeddedException",
    "ItemError",
    "Problem",
    "SymphonyException",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """An RFC 9457 problem details object."""

    type: str = "about:blank"
    title: str = ""
    status: int
    code: str
    detail: str = ""
    instance: str = ""
    request_id: str = ""

    @classmethod
    def read(cls, value: object, *, status: int) -> Problem:
        """Read a problem document; what it lacks is filled from the HTTP status."""
        fields = Fields(value, "problem")
        return cls(
            type=fields.text("type", "about:blank"),
            title=fields.text("title", ""),
            status=fields.whole("status", status),
            code=fields.text("code", f"http-{status}"),
            detail=fields.text("detail", ""),
            instance=fields.text("instance", ""),
            request_id=fields.text("requestId", ""),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddedException:
    """The exception that the service itself threw."""

    error_type: str
    error_code: int = 0
    message: str = ""

    @classmethod
    def read(cls, value: object) -> EmbeddedException:
        """Read the embedded exception."""
        fields = Fields(value, "embedded")
        return cls(error_type=fields.text("errorType"), error_code=fields.whole("errorCode", 0), message=fields.text("message", ""))


@dataclass(frozen=True, kw_only=True, slots=True)
class SymphonyException:
    """Why a task failed: Symphony's ``SoamException`` and a stable ``code`` such as ``service-exception``."""

    error_type: str
    error_code: int = 0
    code: str
    message: str = ""
    embedded: EmbeddedException | None = None

    @classmethod
    def read(cls, value: object) -> SymphonyException:
        """Read an exception."""
        fields = Fields(value, "exception")
        embedded = fields.part("embedded")
        return cls(
            error_type=fields.text("errorType"),
            error_code=fields.whole("errorCode", 0),
            code=fields.text("code"),
            message=fields.text("message", ""),
            embedded=None if embedded is None else EmbeddedException.read(embedded),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ItemError:
    """Why one item of a bulk request was refused."""

    code: str
    detail: str

    @classmethod
    def read(cls, value: object) -> ItemError:
        """Read one item's error."""
        fields = Fields(value, "error")
        return cls(code=fields.text("code"), detail=fields.text("detail"))
