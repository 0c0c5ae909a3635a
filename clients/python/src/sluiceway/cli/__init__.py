"""The program ``sluiceway``. Needs the extra ``cli``: typer and rich."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the program; says what to install where typer is missing."""
    try:
        from sluiceway.cli.program import run  # noqa: PLC0415 - the package works without the extra
    except ModuleNotFoundError as exc:
        if exc.name not in {"typer", "rich"}:
            raise
        sys.exit(f"the program 'sluiceway' needs {exc.name}: pip install 'sluiceway[cli]'")
    run()
