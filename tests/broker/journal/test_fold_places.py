"""Where a session ends, where a fold may begin, and where a position stands after epochs have come and gone."""

from __future__ import annotations

import pytest

from broker.journal.done import DoneTasks
from broker.journal.fold import Fold, Verdict, parse_record, rebase
from broker.journal.stream import StreamRecord
from schemas.records import EpochBase, RecordKind, Refused
from tests.support.journals import SID, Pen, Written, placed, read

FOLDED, VISIBLE, VOID, GAP, REREAD = Verdict.FOLDED, Verdict.VISIBLE, Verdict.VOID, Verdict.GAP, Verdict.REREAD


def begun(*outputs: int) -> tuple[Fold, Pen]:
    """A reader of an epoch 1 in which these numbers were shown."""
    fold, pen = Fold(SID, done=DoneTasks()), Pen(1)
    read(fold, pen.mark(), pen.snap(), *(pen.outs(number) for number in outputs))
    assert fold.next == len(outputs) + 1
    return fold, pen


# ---------------------------------------------------------------- F6 and other sessions


def test_closed_is_the_last_word() -> None:
    """F6: behind it neither records nor marks count."""
    fold, pen = begun(1)

    assert read(fold, pen.closed(1), pen.outs(2), pen.after(2, at=2).mark()) == [FOLDED, VOID, VOID]
    assert fold.ended


def test_closed_before_a_missing_output_is_a_gap() -> None:
    """B12: it names the last number; a session whose last outputs were lost has not ended, or nobody would ever see them."""
    fold, former = begun(1)
    former.outs(2)

    assert read(fold, former.closed(2), lenient=True) == [GAP]
    assert not fold.ended
    pen = former.after(2, at=2)
    assert read(fold, pen.mark(), pen.snap(), pen.outs(2), pen.closed(2), lenient=True) == [FOLDED, FOLDED, VISIBLE, FOLDED]


def test_refused_without_an_epoch_counts_only_for_a_session_that_never_lived() -> None:
    """F6: ``refused(lane-busy)`` needs no epoch, and cannot end a session that has one."""
    busy = Pen(0).write(RecordKind.REFUSED, Refused(code="lane-busy", message="m"))
    fold, _ = begun()

    assert read(fold, busy) == [VOID]
    young = Fold(SID)
    assert read(young, busy) == [FOLDED]
    assert young.ended


def test_records_of_other_sessions_are_void() -> None:
    """D9: every record names its session."""
    fold, _ = begun(1)
    other = Pen(7, sid=b"o" * 16)

    assert read(fold, other.mark(), other.snap(), other.outs(2)) == [VOID, VOID, VOID]
    assert (fold.num, fold.next) == (1, 2)


def test_an_unreadable_record_is_nobodys() -> None:
    """Headers of an unknown version or without a session are no record."""
    table = Pen(1).mark().headers.to_table()

    assert parse_record(StreamRecord(0, "x", table | {"v": 99}, b"")) is None
    assert parse_record(StreamRecord(0, "x", {}, b"")) is None


# ---------------------------------------------------------------- where a fold begins


def test_a_trimmed_journal_begins_with_its_first_snapshot() -> None:
    """B11: outputs before it cannot be placed; from the snapshot on everything counts."""
    first = Pen(1)
    fold = Fold(SID, done=DoneTasks(), anywhere=True)

    assert read(fold, first.outs(40), first.snap(upto=41, done=[7]), first.outs(41)) == [VOID, FOLDED, VISIBLE]
    assert (fold.began, fold.next, fold.floating) == (41, 42, False)


def test_a_trimmed_journal_may_begin_with_a_zombie() -> None:
    """B9: a record of a higher epoch shows that the first one kept was a fenced owner's."""
    zombie, pen = Pen(1), Pen(2, at=30)
    fold = Fold(SID, anywhere=True)

    assert read(fold, zombie.outs(25), pen.outs(39), pen.snap(upto=40), pen.outs(40)) == [VOID, VOID, FOLDED, VISIBLE]


def test_a_reader_that_knows_its_place_does_not_float_away() -> None:
    """A journal that was cut and refilled below this reader is read again, also by one that once began behind trimmed records."""
    pen = Pen(1)
    fold = Fold(SID, anywhere=True)
    read(fold, pen.snap(upto=10), pen.outs(10))
    stranger = pen.after(4, at=5)

    assert read(fold, stranger.outs(11)) == [REREAD]
    assert (fold.next, fold.floating) == (11, False)


def test_an_owner_that_begins_at_a_snapshot_is_not_led_astray_by_a_lost_mark() -> None:
    """An epoch whose mark was lost goes on for a moment behind a proven snapshot: the fold agrees with one that began at birth."""
    pen = Pen(4, at=10)
    snap = pen.snap(upto=10)
    fold = Fold.at_snapshot(placed(snap), done=DoneTasks())
    lost = pen.after(5, at=11)
    lost.mark()

    assert read(fold, snap, pen.outs(10), lost.snap(upto=11), pen.outs(11), lenient=True) == [FOLDED, VISIBLE, VOID, VISIBLE]
    assert (fold.num, fold.next) == (4, 12)


def test_a_reader_begins_at_a_proven_record_of_outputs() -> None:
    """A cursor's record gives the next number; later epochs are judged as ever."""
    former = Pen(3, history=[EpochBase(1, b"00000001", 1)], at=5)
    bundle = former.outs(7, [7, 8])
    fold = Fold.at_outputs(placed(bundle))
    pen = former.after(4, at=9)

    assert read(fold, bundle, pen.mark(), pen.snap(), pen.outs(9)) == [VISIBLE, FOLDED, FOLDED, VISIBLE]


def test_all_places_to_begin_lead_to_one_state() -> None:
    """From birth, from a snapshot and from an output: the same next number, epoch and history."""
    first = Pen(1)
    second = first.after(2, at=3)
    journal = [first.mark(), first.snap(), first.outs(1), first.outs(2), second.mark(), first.outs(3), second.snap(done=[1, 2]), second.outs(3)]
    third = second.after(3, at=4)
    journal += [third.mark(), third.snap(done=[1, 2, 3]), third.outs(4)]

    ends = []
    for fold, start in ((Fold(SID), 0), (Fold.at_snapshot(placed(journal[6])), 6), (Fold.at_outputs(placed(journal[3])), 3)):
        read(fold, *journal[start:])
        ends.append((fold.num, fold.nonce, fold.next, fold.history, fold.open))
    assert [ends[0]] * 3 == ends


# ---------------------------------------------------------------- REBASE


def history() -> Fold:
    """A journal of the epochs 1 (from 1), 3 (from 5) and 4 (from 8), at 10, acknowledged below 4."""
    first = Pen(1)
    third = first.after(3, at=5)
    fourth = third.after(4, at=8)
    fold = Fold(SID)
    journal: list[Written] = [first.mark(), first.snap(), *(first.outs(number) for number in range(1, 5))]
    journal += [third.mark(), third.snap(), *(third.outs(number) for number in (5, 6, 7))]
    journal += [fourth.mark(), fourth.snap(acked=4), fourth.outs(8), fourth.outs(9)]
    read(fold, *journal)
    assert fold.next == 10
    return fold


@pytest.mark.parametrize(
    ("num", "nonce", "position", "expected"),
    [
        (4, b"00000004", 10, 10),
        (3, b"00000003", 7, 7),
        (3, b"00000003", 9, 8),
        (1, b"00000001", 3, 3),
        (1, b"00000001", 9, 5),
        (0, b"", 1, 1),
        (2, b"00000002", 3, 3),
        (2, b"00000002", 9, 4),
        (4, b"another ", 9, 4),
    ],
    ids=["own", "known-below", "known-above", "old-below", "old-above", "new", "vanished-below", "vanished", "number-used-again"],
)
def test_a_position_is_rebased(num: int, nonce: bytes, position: int, expected: int) -> None:
    """REBASE: a known epoch's position is cut by the bases of later ones, a vanished epoch's by what was acknowledged."""
    assert expected == rebase(history(), num, nonce, position)


def test_a_position_of_a_higher_epoch_waits() -> None:
    """REBASE: the journal is behind it; nobody can say where it stands."""
    assert rebase(history(), 5, b"00000005", 3) is None
