"""What a run of the benchmark says about its figures."""

from __future__ import annotations

import io
import tomllib
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from benchmarks.machine import describe_machine
from benchmarks.percentiles import percentile
from benchmarks.report import Report, make_report, print_report, write_report
from benchmarks.sizes import QUICK
from benchmarks.targets import Verdict, judge
from benchmarks.toml import toml_text


def report() -> Report:
    """Return a report of three rounds with one target missed and one met."""
    values = {"celery_tasks_per_s": [90.0, 100.0, 300.0], "bulk_tasks_per_s": [3000.0, 3000.0, 9000.0], "single_tasks_per_s": [500.0, 400.0, 600.0]}
    return make_report(values, describe_machine("0"), QUICK)


def test_a_figure_is_the_median_of_its_rounds() -> None:
    """One round that was disturbed moves no figure."""
    assert report().figures == {"celery_tasks_per_s": 100.0, "bulk_tasks_per_s": 3000.0, "single_tasks_per_s": 500.0}


def test_a_ratio_to_a_peer_is_judged() -> None:
    """30 times where 40 are asked is missed by a quarter; 5 times where 3 are asked is met."""
    bulk = Verdict(figure="bulk_tasks_per_s", target="at least 40 x celery_tasks_per_s", reached=30.0, met=False, missed_by_percent=25.0)
    single = Verdict(figure="single_tasks_per_s", target="at least 3 x celery_tasks_per_s", reached=5.0, met=True)

    assert report().verdicts == [bulk, single]


def test_an_upper_bound_is_judged() -> None:
    """275 MiB where 250 are allowed is missed by a tenth."""
    expected = Verdict(figure="longpoll_gateway_rss_mb", target="at most 250", reached=275.0, met=False, missed_by_percent=10.0)

    assert judge({"longpoll_gateway_rss_mb": 275.0}) == [expected]


def test_the_file_has_the_figures_at_its_top(tmp_path: Path) -> None:
    """Programs find each figure under its own name, and beside them where they come from."""
    write_report(report(), tmp_path / "report.json")
    content = msgspec.json.decode((tmp_path / "report.json").read_bytes())

    assert content["bulk_tasks_per_s"] == 3000.0
    assert content["rounds"]["bulk_tasks_per_s"] == [3000.0, 3000.0, 9000.0]
    assert set(content) == {*report().figures, "verdicts", "machine", "sizes", "rounds"}


def test_the_table_says_what_was_met() -> None:
    """People read the ratio to Celery and by how much a target was missed."""
    text = io.StringIO()
    print_report(report(), Console(file=text, width=150))

    assert "30.0" in text.getvalue()
    assert "missed by 25 %" in text.getvalue()


@pytest.mark.parametrize(("share", "expected"), [(0, 1.0), (50, 2.0), (51, 3.0), (99, 4.0), (100, 4.0)])
def test_percentiles_are_measured_values(share: float, expected: float) -> None:
    """The percentile of four values is one of them."""
    assert percentile([1.0, 2.0, 3.0, 4.0], share) == expected


def test_configuration_is_written_as_it_was_meant() -> None:
    """A TOML reader finds in the text what was put in."""
    table = {"cluster": 'a"b', "lanes": {"input_bytes": 1, "on": True}, "grids": [{"name": "x", "clusters": ["y"]}], "delay": 0.5}

    assert tomllib.loads(toml_text(table)) == table
