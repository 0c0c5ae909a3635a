"""The fold's rules one by one, with the traces that taught them as named tests."""

from __future__ import annotations

import pytest

from broker.journal.done import DoneTasks
from broker.journal.fold import Fold, Verdict
from schemas.records import Mark, Opened, RecordKind, SessionControls, StateChange
from tests.support.journals import SID, Pen, read, task_of

FOLDED, VISIBLE, VOID, GAP, REREAD = Verdict.FOLDED, Verdict.VISIBLE, Verdict.VOID, Verdict.GAP, Verdict.REREAD


def begun(*outputs: int) -> tuple[Fold, Pen]:
    """A reader of an epoch 1 in which these numbers were shown."""
    fold, pen = Fold(SID, done=DoneTasks()), Pen(1)
    read(fold, pen.mark(), pen.snap(), *(pen.outs(number) for number in outputs))
    assert fold.next == len(outputs) + 1
    return fold, pen


# ---------------------------------------------------------------- F1: marks


def test_a_higher_mark_begins_an_epoch_and_shuts_out_the_former_owner() -> None:
    """F1: behind a valid mark neither the former epoch's outputs nor, before its first snapshot, its own count."""
    fold, former = begun(1)
    pen = former.after(2, at=2)

    assert read(fold, pen.mark("c2"), former.outs(2), pen.outs(2)) == [FOLDED, VOID, VOID]
    assert (fold.num, fold.claim_id, fold.open, fold.next) == (2, "c2", False, 2)


@pytest.mark.parametrize("num", [1, 2])
def test_a_mark_beaten_in_the_race_is_void(num: int) -> None:
    """F1, A6: of two marks with one number the first in the log counts; so does a higher one before a lower."""
    fold, former = begun(1)
    winner, loser = former.after(2, at=2), former.after(num, at=2, nonce=b"loser   ")

    assert read(fold, winner.mark(), loser.mark(), loser.snap(), loser.outs(2), winner.snap(), winner.outs(2), lenient=True) == [
        FOLDED,
        VOID,
        VOID,
        VOID,
        FOLDED,
        VISIBLE,
    ]
    assert winner.nonce == fold.nonce


def test_a_mark_and_its_duplicate_are_one_fence() -> None:
    """F1: a mark that the broker stored twice changes nothing the second time."""
    fold, former = begun(1)
    pen = former.after(2, at=2)
    mark = pen.mark()

    assert read(fold, mark, pen.snap(), pen.outs(2), mark) == [FOLDED, FOLDED, VISIBLE, VOID]
    assert fold.open
    assert len(fold.history) == 2


# ---------------------------------------------------------------- F2: other epochs


def test_a_zombie_of_a_fenced_epoch_is_void() -> None:
    """F2: whatever a fenced owner still appends counts for nobody, even with the number that comes next."""
    fold, zombie = begun(1)
    pen = zombie.after(2, at=2)
    zombie_snap = zombie.snap(upto=2)

    assert read(fold, pen.mark(), pen.snap(), zombie.outs(2), zombie_snap, zombie.closed(2), pen.outs(2)) == [FOLDED, FOLDED, VOID, VOID, VOID, VISIBLE]
    assert not fold.ended


def test_an_unknown_higher_epoch_asks_a_reader_to_read_again() -> None:
    """F2: a record of an epoch whose mark was never met means that the journal was cut and refilled below this reader."""
    fold, former = begun(1)

    assert read(fold, former.after(2, at=2).outs(2)) == [REREAD]


def test_an_epoch_number_used_again_after_a_loss_is_another_epoch() -> None:
    """A6: the second epoch 2 has another nonce; a reader of the first one reads again."""
    fold, former = begun(1)
    lost, again = former.after(2, at=2), former.after(2, at=2, nonce=b"again   ")
    read(fold, lost.mark(), lost.snap(), lost.outs(2))

    assert read(fold, again.outs(3)) == [REREAD]


def test_records_of_an_epoch_whose_mark_was_lost_are_void_for_whoever_reads_all() -> None:
    """F2: the lost mark's owner goes on writing for a moment; a reader told to read to today's end passes by."""
    fold, pen = begun(1)
    lost = pen.after(5, at=2)
    lost.mark()

    assert read(fold, lost.outs(2), pen.outs(2), lenient=True) == [VOID, VISIBLE]
    assert (fold.num, fold.next) == (1, 3)


# ---------------------------------------------------------------- F3: the first snapshot


def test_outputs_before_the_first_snapshot_do_not_count() -> None:
    """A8: an epoch's outputs count only behind its first snapshot."""
    fold, pen = Fold(SID), Pen(1)

    assert read(fold, pen.mark(), pen.outs(1), pen.snap(), pen.outs(2)) == [FOLDED, VOID, FOLDED, GAP]


def test_a_reader_with_another_next_number_reads_again() -> None:
    """F3: ``at`` has to be the reader's own next number."""
    fold, former = begun(1, 2)

    assert read(fold, (pen := former.after(2, at=2)).mark(), pen.snap()) == [FOLDED, REREAD]
    assert not fold.open


def test_an_equal_number_in_a_vanished_epoch_is_not_enough() -> None:
    """L2: a reader at 4 of the vanished epoch 3 meets a mark and a snapshot with at=4 whose history never knew that epoch."""
    first = Pen(1)
    vanished, four = first.after(3, at=2), first.after(4, at=2)
    fold = Fold(SID)
    read(fold, first.mark(), first.snap(), first.outs(1), vanished.mark(), vanished.snap(), vanished.outs(2), vanished.outs(3))
    assert fold.next == 4

    six = four.after(6, at=4)
    assert read(fold, six.mark(), six.snap()) == [FOLDED, REREAD]


def test_the_same_history_and_number_prove_the_way() -> None:
    """L2: with the epoch the reader was in before the mark, the snapshot opens the epoch."""
    fold, former = begun(1, 2, 3)
    pen = former.after(6, at=4)

    assert read(fold, pen.mark(), pen.snap(), pen.outs(4)) == [FOLDED, FOLDED, VISIBLE]
    assert [(one.num, one.base) for one in fold.history] == [(1, 1), (6, 4)]


def test_an_epoch_without_a_snapshot_stands_between_two_that_have_one() -> None:
    """F3: an owner that died after its mark is the former epoch of the next one, for reader and writer alike."""
    fold, former = begun(1)
    died = former.after(2, at=2)
    pen = died.after(3, at=2)

    assert read(fold, died.mark(), pen.mark(), pen.snap(), pen.outs(2)) == [FOLDED, FOLDED, FOLDED, VISIBLE]


# ---------------------------------------------------------------- F4: later snapshots


def test_a_snapshot_that_is_ahead_is_void_as_a_whole_and_a_gap() -> None:
    """B6: it lists an output that is not before it; nothing of it is taken."""
    fold, pen = begun(1)

    assert read(fold, pen.snap(upto=3, acked=3, done=[2], controls=SessionControls(suspended=True))) == [GAP]
    assert (fold.next, fold.acked, fold.gap, fold.controls.suspended) == (2, 1, True, False)
    assert fold.done is not None
    assert fold.done.number(task_of(2)) is None


def test_a_snapshot_that_is_behind_is_good_information_and_moves_no_number() -> None:
    """F4: own outputs in flight came before it; it is taken, and the next number stays."""
    fold, pen = begun(1, 2)

    assert read(fold, pen.snap(upto=2, acked=2, done=[1]), pen.outs(3)) == [FOLDED, VISIBLE]
    assert (fold.next, fold.acked) == (4, 2)


def test_a_snapshot_in_parts_counts_when_its_last_part_is_there() -> None:
    """F4: parts count together and in order; done tasks and common data of all of them are taken."""
    fold, pen = Fold(SID, done=DoneTasks()), Pen(1)
    mark = pen.mark()
    parts = [pen.snap(part=part, parts=3, upto=1, done=[part + 10], common_data=b"%d" % part) for part in (1, 2, 3)]
    opened = [(read(fold, record), fold.open) for record in (mark, *parts)]
    assert opened == [([FOLDED], False)] * 3 + [([FOLDED], True)]
    assert fold.common_data == b"123"
    assert fold.done is not None
    assert [fold.done.number(task_of(index)) for index in (11, 12, 13)] == [11, 12, 13]


def test_a_part_that_is_missing_voids_the_snapshot_and_the_next_one_is_whole() -> None:
    """F4: part 3 after part 1 is nothing; a snapshot that begins anew counts."""
    fold, pen = Fold(SID), Pen(1)
    mark = pen.mark()
    broken = [pen.snap(part=part, parts=3) for part in (1, 2, 3)]
    begins, whole = pen.snap(part=1, parts=2), [pen.snap(part=part, parts=2) for part in (1, 2)]

    assert read(fold, mark, broken[0], broken[2], begins, *whole, lenient=True) == [FOLDED, FOLDED, VOID, FOLDED, FOLDED, FOLDED]
    assert fold.open


def test_a_part_stored_twice_does_not_spoil_the_snapshot() -> None:
    """The broker may store a record again when a leader changes: the copy is void, the snapshot counts."""
    fold, pen = Fold(SID), Pen(1)
    mark = pen.mark()
    one, two = (pen.snap(part=part, parts=2) for part in (1, 2))

    assert read(fold, mark, one, one, two, one, two) == [FOLDED, FOLDED, VOID, FOLDED, VOID, VOID]
    assert fold.open


# ---------------------------------------------------------------- F5: outputs


def test_outputs_count_in_unbroken_order_only() -> None:
    """F5: the next number is visible; a lower one is dropped; a higher one is a gap, dropped and never buffered."""
    fold, pen = begun(1)
    records = {number: pen.outs(number) for number in (2, 3, 4)}

    assert read(fold, records[2], records[2], records[4], lenient=True) == [VISIBLE, VOID, GAP]
    assert (fold.next, fold.gap) == (3, True)


def test_a_reader_that_misses_a_publication_reads_again() -> None:
    """An owner's publications come consecutively: a missing one was refused, or lost and its offset filled again below this reader."""
    fold, pen = begun(1)
    shown, filler, behind = pen.outs(2), pen.write(RecordKind.STATE, StateChange(acked=1, controls=SessionControls())), pen.outs(3)

    assert read(fold, shown, behind) == [VISIBLE, REREAD]
    assert fold.next == 3
    whole, _ = begun(1)
    assert read(whole, filler, behind, lenient=True) == [FOLDED, GAP]


def test_a_gap_ends_with_the_next_epoch() -> None:
    """F5: the new epoch begins where the unbroken order ended."""
    fold, former = begun(1)
    former.outs(2)
    read(fold, former.outs(3), lenient=True)
    assert fold.gap

    pen = former.after(2, at=2)
    assert read(fold, pen.mark(), pen.snap(), pen.outs(2), lenient=True) == [FOLDED, FOLDED, VISIBLE]
    assert (fold.next, fold.gap) == (3, False)


def test_a_bundle_is_shown_whole() -> None:
    """F5: a record of several outputs moves the next number by as many and notes every task with its own number."""
    fold, pen = begun(1)

    assert read(fold, pen.outs(2, [20, 21, 22]), pen.outs(5)) == [VISIBLE, VISIBLE]
    assert fold.next == 6
    assert fold.done is not None
    assert [fold.done.number(task_of(task)) for task in (20, 21, 22)] == [2, 3, 4]


def test_a_damaged_body_is_void_and_what_follows_is_a_gap() -> None:
    """A body whose digest differs counts for nobody."""
    fold, pen = begun(1)

    assert read(fold, pen.outs(2).damaged(), pen.outs(3)) == [VOID, GAP]
    assert fold.next == 2


def test_a_body_of_another_kind_than_its_header_is_void() -> None:
    """Headers and body have to agree."""
    fold, pen = begun(1)

    assert read(fold, pen.write(RecordKind.OUTS, Opened(native_id="x"), first=2)) == [VOID]
    assert read(fold, pen.write(RecordKind.STATE, Mark("c"))) == [VOID]


def test_records_stored_again_bring_no_older_state_back() -> None:
    """A broker that stores a run of records again after a leader change cannot undo what came after the first copy."""
    fold, pen = begun(1)
    on, off = (pen.write(RecordKind.STATE, StateChange(acked=1, controls=SessionControls(suspended=flag))) for flag in (True, False))

    assert read(fold, on, off, on) == [FOLDED, FOLDED, VOID]
    assert not fold.controls.suspended


def test_a_position_ahead_of_the_outputs_is_not_believed() -> None:
    """``acked`` in a header never passes the reader's own next number."""
    fold, pen = begun(1)

    read(fold, pen.outs(2, acked=9))
    assert fold.acked == 2
