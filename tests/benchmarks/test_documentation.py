"""The page about the benchmark agrees with the benchmark."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.rounds import PARTS
from benchmarks.targets import TARGETS, Target
from tests.benchmarks.figures import PEERS, SLUICEWAY

PAGE = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(SLUICEWAY | PEERS))
def test_every_figure_is_explained(name: str) -> None:
    """A reader finds each figure's meaning."""
    assert f"`{name}`" in PAGE


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.figure)
def test_every_target_is_on_the_page(target: Target) -> None:
    """Each target's figure stands in the table of targets."""
    assert f"`{target.figure}`" in PAGE.partition("## Targets")[2]


@pytest.mark.parametrize("name", PARTS)
def test_every_part_is_named(name: str) -> None:
    """What --only takes is listed."""
    assert f"`{name}`" in PAGE
