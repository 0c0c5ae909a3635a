"""Runs ``python -m broker``: the commands of this room, such as ``python -m broker node --dir D``."""

from __future__ import annotations

from broker.commands import app

app()
