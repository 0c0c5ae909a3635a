"""Runs ``python -m sluiceway``: the program ``sluiceway``."""

from __future__ import annotations

from sluiceway.cli import main

if __name__ == "__main__":
    main()
