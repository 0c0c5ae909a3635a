"""Snapshots: small parts that together give a successor all that the writer knew."""

from __future__ import annotations

import pytest

from bridge.snapshots import snapshot_parts
from broker.journal.done import DoneTasks
from broker.journal.fold import Fold
from schemas.ids import task_id
from schemas.records import RecordKind, SessionControls, encode_body
from tests.support.journals import SID, Pen, placed


def successor(fold: Fold, controls: SessionControls) -> Fold:
    """A fold that begins at the snapshot of another."""
    pen = Pen(1, nonce=fold.nonce)
    parts = [placed(pen.write(RecordKind.SNAP, part), offset) for offset, part in enumerate(snapshot_parts(fold, at=fold.next, controls=controls))]
    heir = Fold.at_snapshot(parts[0], done=DoneTasks())
    for part in parts:
        heir.step(part)
    return heir


@pytest.mark.parametrize(("submissions", "partial", "data"), [(0, 0, None), (20_000, 0, None), (10, 900, b""), (9_000, 3, b"d" * 2_000_000)])
def test_a_successor_knows_what_the_writer_knew(submissions: int, partial: int, data: bytes | None) -> None:
    """Done tasks, common data, position, controls and counts come over, however many parts it takes; each is below 1 MiB."""
    done = DoneTasks()
    fold = Fold(SID, done=done)
    fold.num, fold.nonce, fold.next, fold.acked, fold.common_data = 1, b"00000001", 7, 5, data
    fold.failed, fold.cancelled = 2, 1
    names = [task_id(b"%016d" % index, b"fpfp", 0) for index in range(submissions + partial)]
    for index, name in enumerate(names):
        done.add(name, 1 if index < submissions else 10_000, 3)
    controls = SessionControls(suspended=True, opened=True, native_id="n")

    assert max(len(encode_body(part)) for part in snapshot_parts(fold, at=7, controls=controls)) < 1 << 20
    heir = successor(fold, controls)
    assert heir.done is not None
    assert [heir.done.number(name) for name in names] == [3] * len(names)
    assert heir.done.submissions == done.submissions
    assert (heir.next, heir.acked, heir.common_data, heir.failed, heir.cancelled) == (7, 5, data, 2, 1)
    assert (heir.controls.suspended, heir.opened, heir.native_id) == (True, True, "n")
