"""Health check of a container: exits 0 when the status listener answers 200."""

from __future__ import annotations

import http.client
import sys
from typing import Final
from urllib.parse import urlsplit

__all__ = ["main"]

_OK: Final = 200


def main(url: str) -> int:
    """Ask ``url`` once; return 0 for 200, otherwise 1."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=3)
    try:
        connection.request("GET", parts.path)
        return 0 if connection.getresponse().status == _OK else 1
    except OSError:
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
