"""Waits until gateways have heard of the bridges: before that they say that the grid is down."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sluiceway.stack.processes import StackError

__all__ = ["wait_for_grid"]

_PAUSE: Final = 0.1
_PATIENCE: Final = 5.0


def wait_for_grid(urls: Sequence[str], grid: str, *, token: Path, ca: Path, within: float) -> None:
    """Return when every gateway says that the grid is up.

    Raises:
        StackError: One does not within so many seconds.
    """
    context = ssl.create_default_context(cafile=str(ca))
    headers = {"Authorization": f"Bearer {token.read_text(encoding='ascii').strip()}", "Accept": "application/json"}
    # Not through a corporate proxy, whatever the environment says: this is our own machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    deadline = time.monotonic() + within
    for url in urls:
        request = urllib.request.Request(f"{url}/v1/grids", headers=headers)  # noqa: S310 - our own gateway
        while (state := _state(opener, request, grid)) != "up":
            if time.monotonic() > deadline:
                raise StackError(f"{url} says that the grid {grid} is {state}")
            time.sleep(_PAUSE)


def _state(opener: urllib.request.OpenerDirector, request: urllib.request.Request, grid: str) -> str:
    try:
        with opener.open(request, timeout=_PATIENCE) as answer:
            grids = json.load(answer)["grids"]
    except (urllib.error.URLError, OSError) as exc:
        return f"not to be asked about ({exc})"
    return next((str(one["state"]) for one in grids if one["name"] == grid), "unknown")
