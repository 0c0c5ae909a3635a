"""Symphony's words and the broker's objects, as values."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import UNSET

from schemas.symphony import (
    CloseFlags,
    SessionCreationAttributes,
    SessionFlags,
    VocabularyError,
    check_attributes,
    check_priority,
    check_task_tag,
    parse_close_flags,
    parse_session_flags,
)
from schemas.topology import DELIVERY_LIMIT, SEGMENT_BYTES, ClusterTopology, LaneLimits, check_cluster_name, shared_topology


@pytest.mark.parametrize(
    "spelling",
    [5, "5", "SYNC", "SF_SYNC", "AliasSync", "SEND_SYNC|RECEIVE_SYNC", "SendSync | ReceiveSync", ["SF_SEND_SYNC", "receive_sync"], "1|RECEIVE_SYNC"],
    ids=repr,
)
def test_session_flags_have_many_spellings(spelling: Any) -> None:  # noqa: ANN401 - whatever clients write
    """Java, C++ and Python names, numbers, joined or listed, mean the same bits."""
    assert parse_session_flags(spelling) == SessionFlags.SYNC


@pytest.mark.parametrize("wrong", [32, -1, True, "NEVER", "", "RECEIVE_SYNC|RECEIVE_ASYNC", 3, "RECEIVE_ASYNC|FETCH_RESULTS_DIRECTLY"])
def test_contradictory_or_unknown_session_flags_are_refused(wrong: Any) -> None:  # noqa: ANN401 - whatever clients write
    """Exclusive pairs, unknown bits and names."""
    with pytest.raises(VocabularyError):
        parse_session_flags(wrong)


@pytest.mark.parametrize(("spelling", "flags"), [(0, 1), ("", 1), ("SCF_DETACH_ON_CLOSE", 2), ("DestroyOnClose", 1), (2, 2)])
def test_close_flags_default_to_destroy(spelling: int | str, flags: int) -> None:
    """Unset means DESTROY_ON_CLOSE, as in ``Session.close()``."""
    assert parse_close_flags(spelling) == CloseFlags(flags)


@pytest.mark.parametrize("wrong", [3, 4, "DESTROY_ON_CLOSE|DETACH_ON_CLOSE", "KEEP"])
def test_other_close_flags_are_refused(wrong: int | str) -> None:
    """Both at once, unknown bits, unknown names."""
    with pytest.raises(VocabularyError):
        parse_close_flags(wrong)


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"tag": "no spaces"}, "tag"),
        ({"type": "line\n"}, "type"),
        ({"data_compression_flag": "Best"}, "dataCompressionFlag"),
        ({"direct_data_transfer_enable": True}, "directDataTransferEnable"),
        ({"compression_enable": False, "threshold": 1}, "threshold"),
        ({"flags": 64}, "flags"),
    ],
)
def test_a_wrong_attribute_is_named(attributes: dict[str, Any], named: str) -> None:
    """The error carries the attribute's name as clients write it."""
    with pytest.raises(VocabularyError) as caught:
        check_attributes(SessionCreationAttributes(**attributes))

    assert caught.value.attribute == named


def test_unset_stays_unset() -> None:
    """No attribute is invented: the grid's application profile has its own defaults."""
    assert check_attributes(SessionCreationAttributes()) is UNSET
    assert check_attributes(SessionCreationAttributes(flags=0)) == SessionFlags(0)


def test_priorities_and_task_tags_have_limits() -> None:
    """1 to 10000; 128 letters, digits, - and _, no - first."""
    assert [check_priority(1), check_priority(10_000)] == [1, 10_000]
    assert [check_task_tag(""), check_task_tag("a-B_9" * 25)] == ["", "a-B_9" * 25]
    for priority in (0, 10_001):
        with pytest.raises(VocabularyError):
            check_priority(priority)
    for tag in ("-a", "a b", "a" * 129, "a\n"):
        with pytest.raises(VocabularyError):
            check_task_tag(tag)


def test_every_queue_says_what_safety_rests_on() -> None:
    """D7: quorum queues with a large positive delivery limit that refuse when full; streams by size, in small segments."""
    topology = ClusterTopology(cluster="c", lanes=2)
    queues = [queue for queue, _ in [*topology.base_pairs(), *topology.lane_pairs()]] + shared_topology()[1]

    for queue in queues:
        if queue.arguments["x-queue-type"] == "quorum":
            assert queue.arguments["x-delivery-limit"] == DELIVERY_LIMIT > 0
            assert queue.arguments["x-overflow"] == "reject-publish"
        else:
            assert queue.arguments["x-stream-max-segment-size-bytes"] == SEGMENT_BYTES
            assert int(queue.arguments["x-max-length-bytes"]) >= 3 * SEGMENT_BYTES
    assert len({queue.name for queue in queues}) == len(queues)


def test_lanes_are_added_behind_those_there_are() -> None:
    """``first`` leaves out lanes that exist; every queue is bound by the key that publishers use."""
    topology = ClusterTopology(cluster="c", lanes=3)
    pairs = list(topology.lane_pairs(2))

    assert [queue.name for queue, _ in pairs] == ["sw.c.lane.2.in", "sw.c.lane.2.out"]
    assert [binding.key for _, binding in pairs] == [topology.input_key(2), topology.journal_key(2)]
    assert {binding.exchange for _, binding in pairs} == {topology.exchange.name}


def test_a_journal_holds_more_than_twice_the_quota() -> None:
    """B11: only acknowledged output may be trimmed."""
    limits = LaneLimits(output_quota=10 << 20)

    assert limits.journal_bytes >= 2 * limits.output_quota + 3 * SEGMENT_BYTES
    assert limits.lane_bytes > limits.input_bytes + limits.journal_bytes


@pytest.mark.parametrize("name", ["", "-a", "a.b", "a b", "a" * 65, "a\n"])
def test_cluster_names_that_cannot_stand_in_a_queue_name_are_refused(name: str) -> None:
    """Letters, digits, - and _ only."""
    with pytest.raises(ValueError, match="cluster name"):
        check_cluster_name(name)


@pytest.mark.parametrize("lanes", [0, 1001])
def test_a_cluster_has_1_to_1000_lanes(lanes: int) -> None:
    """Each takes two queues on every node."""
    with pytest.raises(ValueError, match="lanes"):
        ClusterTopology(cluster="c", lanes=lanes)
