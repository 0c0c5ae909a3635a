"""The client's own version and the version of the HTTP interface that it speaks."""

from __future__ import annotations

from typing import Final

__all__ = ["API_VERSION", "VERSION", "VERSION_HEADER"]

VERSION: Final = "0.1.0"
API_VERSION: Final = "1"
VERSION_HEADER: Final = "Sluiceway-Version"
