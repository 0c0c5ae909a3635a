"""Followers against a real stream: what a client sees through any gateway, also when the journal is not what it was."""

from __future__ import annotations

import asyncio

import pytest

from broker.journal.follower import CursorAheadError, CursorExpiredError, Follower, VisibleOutputs, follow
from broker.journal.stream import last_records
from broker.link import Broker
from broker.publishing import Publisher
from schemas.cursors import START, Cursor
from schemas.ids import Position, SessionId
from schemas.records import RecordKind, Refused
from schemas.topology import ClusterTopology
from tests.support.journals import SID, Pen, Written
from tests.support.rabbit import MakeCluster

pytestmark = pytest.mark.broker


class Journal:
    """A lane's journal that a test writes by hand."""

    def __init__(self, broker: Broker, publisher: Publisher, topology: ClusterTopology) -> None:
        self.broker = broker
        self.publisher = publisher
        self.topology = topology
        self.end = 0
        self.session = self.of(Position(0, ""))

    def of(self, born: Position | None, *, sid: bytes = SID) -> SessionId:
        """A session born behind a record."""
        return SessionId(sid=sid, cluster=self.topology.cluster, lane=0, grid="G", application="a", principal="p", connection=b"c" * 16, born=born)

    async def write(self, *records: Written) -> Position:
        """Append records; return the last one's place."""
        posts = [
            self.publisher.post(
                exchange=self.topology.exchange.name,
                key=self.topology.journal_key(0),
                body=record.raw,
                headers=record.headers.to_table(),
                message_id=record.headers.message_id,
            )
            for record in records
        ]
        for post in posts:
            await post
        self.end += len(records)
        return Position(self.end, records[-1].headers.message_id)

    async def outputs(self, cursor: Cursor, count: int, *, session: SessionId | None = None) -> list[VisibleOutputs]:
        """Open a follower at the cursor and read ``count`` outputs."""
        async with follow(self.broker, session or self.session, cursor) as follower:
            return await read(follower, count)


async def read(follower: Follower, count: int) -> list[VisibleOutputs]:
    """Read until ``count`` outputs have come."""
    got: list[VisibleOutputs] = []
    async with asyncio.timeout(15):
        while sum(len(one.outputs) for one in got) < count:
            got += await follower.read(1.0)
    return got


def numbers(got: list[VisibleOutputs]) -> list[int]:
    """The numbers that were shown."""
    return [number for one in got for number in range(one.first, one.end)]


@pytest.fixture
async def journal(broker: Broker, publisher: Publisher, make_cluster: MakeCluster) -> Journal:
    """A journal with nothing but the record that set-up wrote; the session is born behind it."""
    topology = await make_cluster()
    made = Journal(broker, publisher, topology)
    seed = (await last_records(broker, topology.lane_journal(0).name))[-1]
    made.session = made.of(Position(seed.offset, seed.message_id))
    return made


async def test_two_followers_of_one_cursor_show_the_same_bytes(journal: Journal) -> None:
    """A cursor names a record, so every gateway that attaches there shows the same, in the middle of a bundle too."""
    pen = Pen(1)
    await journal.write(pen.mark(), pen.snap(), pen.outs(1, [1, 2, 3]), pen.outs(4))
    first = await journal.outputs(START, 4)
    middle = first[0].cursor(3)

    one, other = await asyncio.gather(journal.outputs(middle, 2), journal.outputs(middle, 2))
    assert numbers(first) == [1, 2, 3, 4]
    assert one == other == first


async def test_a_session_born_behind_another_sees_only_its_own_records(journal: Journal) -> None:
    """The former session's records lie before its birth, a straggler's behind it; neither shows."""
    former, pen = Pen(9, sid=b"f" * 16), Pen(1)
    born = await journal.write(former.mark(), former.snap(), former.outs(1), former.closed(1))
    await journal.write(pen.mark(), former.outs(2), pen.snap(), pen.outs(1))

    got = await journal.outputs(START, 1, session=journal.of(born))
    assert [(one.first, one.num) for one in got] == [(1, 1)]


async def test_a_follower_waits_for_what_is_not_there_yet(journal: Journal) -> None:
    """A session without records shows nothing, and its first output as soon as it is written."""
    pen = Pen(1)
    async with follow(journal.broker, journal.session, START) as follower:
        assert await follower.read(0.2) == []
        await journal.write(pen.mark(), pen.snap(), pen.outs(1))
        assert numbers(await read(follower, 1)) == [1]


async def test_a_follower_reads_on_over_the_next_epoch(journal: Journal) -> None:
    """Fenced owners' records do not show; a gap ends with the next epoch; nothing is rewound."""
    first = Pen(1)
    await journal.write(first.mark(), first.snap(), first.outs(1))
    first.outs(2)
    await journal.write(first.outs(3))
    second = first.after(2, at=2)
    async with follow(journal.broker, journal.session, START) as follower:
        assert numbers(await read(follower, 1)) == [1]
        await journal.write(second.mark(), first.outs(2), second.snap(), second.outs(2), second.outs(3))
        got = await read(follower, 2)

    assert [(one.first, one.num) for one in got] == [(2, 2), (3, 2)]
    assert not follower.rewound


async def test_records_of_an_unknown_epoch_are_passed_by(journal: Journal) -> None:
    """An epoch whose mark was lost makes the follower read again, and changes nothing."""
    first = Pen(1)
    stray = first.after(5, at=2)
    stray.mark()
    await journal.write(first.mark(), first.snap(), first.outs(1), stray.outs(2), first.outs(2))

    got = await journal.outputs(START, 2)
    assert [(one.first, one.num) for one in got] == [(1, 1), (2, 1)]


async def test_a_reader_that_must_read_again_finds_the_newest_snapshot(journal: Journal) -> None:
    """A warm follower meets an unknown epoch while records name a snapshot to start at: it goes on where it stood."""
    pen = Pen(1)
    place = await journal.write(pen.mark(), pen.snap(), pen.outs(1), pen.snap(upto=2))
    pen.scan = place
    await journal.write(pen.outs(2))
    stray = pen.after(5, at=3)
    stray.mark()
    async with follow(journal.broker, journal.session, START) as follower:
        assert numbers(await read(follower, 2)) == [1, 2]
        await journal.write(stray.outs(3), pen.outs(3))
        assert numbers(await read(follower, 1)) == [3]


async def test_a_client_is_rewound_when_its_outputs_were_lost(journal: Journal) -> None:
    """The cursor's epoch is unknown to the journal and lower than its last: the client goes back to what it had acknowledged."""
    first = Pen(1)
    third = first.after(3, at=3)
    await journal.write(first.mark(), first.snap(), first.outs(1), first.outs(2), third.mark(), third.snap(acked=2), third.outs(3))
    lost = Cursor(num=2, nonce=b"00000002", next=6, at=Position(5, "3030303030303032:7"))

    async with follow(journal.broker, journal.session, lost) as follower:
        got = await read(follower, 2)
        assert (follower.rewound, numbers(got)) == (True, [2, 3])


async def test_a_client_is_rewound_to_the_base_of_a_later_epoch(journal: Journal) -> None:
    """The cursor's epoch is known, but its record was lost before the next epoch began."""
    first = Pen(1)
    second = first.after(2, at=2)
    await journal.write(first.mark(), first.snap(), first.outs(1), second.mark(), second.snap(), second.outs(2))
    lost = Cursor(num=1, nonce=first.nonce, next=4, at=Position(6, "gone:6"))

    async with follow(journal.broker, journal.session, lost) as follower:
        got = await read(follower, 1)
        assert (follower.rewound, numbers(got)) == (True, [2])


async def test_a_cursor_of_a_higher_epoch_waits_for_the_owner(journal: Journal) -> None:
    """L4: the journal is behind the cursor; its owner has to be told."""
    pen = Pen(1)
    await journal.write(pen.mark(), pen.snap(), pen.outs(1))

    with pytest.raises(CursorAheadError):
        await journal.outputs(Cursor(num=2, nonce=b"00000002", next=2, at=Position(9, "x:9")), 1)


async def test_a_cursor_whose_outputs_were_trimmed_has_expired(journal: Journal) -> None:
    """A journal that now begins with a snapshot beyond the cursor cannot show what lay before; a later cursor goes on."""
    pen = Pen(1, at=50)
    await journal.write(pen.snap(upto=60), pen.outs(60))
    trimmed = journal.of(Position(0, "trimmed"))
    old, later = (Cursor(num=1, nonce=pen.nonce, next=number, at=Position(1, "trimmed:9")) for number in (55, 60))

    with pytest.raises(CursorExpiredError):
        await journal.outputs(old, 1, session=trimmed)
    assert numbers(await journal.outputs(later, 1, session=trimmed)) == [60]


async def test_a_closed_session_shows_its_outputs_and_its_end(journal: Journal) -> None:
    """Closed comes behind the last output, for readers from the start and from the last cursor."""
    pen = Pen(1)
    await journal.write(pen.mark(), pen.snap(), pen.outs(1), pen.outs(2), pen.closed(2))

    async with follow(journal.broker, journal.session, START) as follower:
        got = await read(follower, 2)
    async with follow(journal.broker, journal.session, got[-1].cursor(3)) as again:
        assert await again.read(5) == []
        closed = again.fold.closed
    assert closed is not None
    assert closed.last == 2


async def test_a_refused_session_says_why(journal: Journal) -> None:
    """A lane that was busy refuses without an epoch."""
    await journal.write(Pen(0).write(RecordKind.REFUSED, Refused(code="lane-busy", message="m")))

    async with follow(journal.broker, journal.session, START) as follower:
        assert await follower.read(5) == []
        refused = follower.fold.refused
    assert refused is not None
    assert refused.code == "lane-busy"


async def test_whoever_learnt_that_a_record_was_shown_in_error_does_not_trust_it(journal: Journal) -> None:
    """Behind a gap a reader that did not know better issued a cursor: read without trust it is rebased by the next epoch's base."""
    first = Pen(1)
    shown, second = [first.mark(), first.snap(), first.outs(1)], first.after(2, at=2)
    first.outs(2)
    behind = await journal.write(*shown, first.outs(3))
    await journal.write(second.mark(), second.snap(), second.outs(2))
    wrong = Cursor(num=1, nonce=first.nonce, next=4, at=behind)

    async with follow(journal.broker, journal.session, wrong, trusting=False) as follower:
        got = await read(follower, 1)
        assert (follower.rewound, numbers(got)) == (True, [2])
