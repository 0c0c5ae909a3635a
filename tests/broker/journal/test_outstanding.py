"""The quota of unacknowledged outputs counts what a takeover finds."""

from __future__ import annotations

from broker.journal.outstanding import Outstanding


def test_records_count_until_their_last_output_is_acknowledged() -> None:
    """A record that the client holds in part counts whole."""
    outstanding = Outstanding()
    outstanding.add(11, 100)
    outstanding.add(21, 200)
    outstanding.acknowledged(20)

    assert outstanding.bytes == 200

    outstanding.acknowledged(21)

    assert outstanding.bytes == 0


def test_what_a_snapshot_tells_counts_until_all_before_it_is_acknowledged() -> None:
    """A successor takes over its predecessor's count and does not begin at nothing."""
    outstanding = Outstanding()
    outstanding.add(5, 50)
    outstanding.begin(11, 300)
    outstanding.add(12, 10)
    outstanding.acknowledged(10)

    assert outstanding.bytes == 310

    outstanding.acknowledged(11)

    assert outstanding.bytes == 10
