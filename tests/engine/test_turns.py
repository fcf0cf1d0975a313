"""Turns and batches, as arithmetic: who goes next, who goes together, and how many at a time."""

import pytest

from livecut.engine.errors import UsageError
from livecut.engine.turns import Batches, Member, Turns


def members(*priorities):
    return [Member(f"stream {index}", priority) for index, priority in enumerate(priorities)]


def test_a_turn_is_given_at_once_while_there_is_room():
    turns, (a, b) = Turns(2, 0.033), members(0, 0)
    assert turns.ask(a)
    assert turns.ask(b)
    assert not turns.ask(a)
    assert (a.frames, a.waits) == (1, 1)


def test_a_turn_that_is_over_goes_to_whoever_has_waited_longest():
    turns, (a, b, c) = Turns(1, 0.033), members(0, 0, 0)
    turns.ask(a)
    assert not turns.ask(b)
    assert not turns.ask(c)
    turns.done(a)
    assert turns.give() is b
    assert turns.give() is None
    turns.done(b)
    assert turns.give() is c


def served(turns, streams, rounds):
    """Every stream always waits with its next frame; one is done at a time."""
    for stream in streams:
        while turns.ask(stream):
            pass
    for _ in range(rounds):
        turns.done(next(stream for stream in streams if turns.under_way[stream]), 0.01)
        turns.ask(turns.give())
    return [stream.frames for stream in streams]


def test_fair_gives_every_stream_the_same_rate():
    frames = served(Turns(1, 0.033), members(0, 5, 0), 299)
    assert max(frames) - min(frames) <= 2


def test_priority_lets_the_others_lose_their_frames_first():
    frames = served(Turns(1, 0.033, "priority"), members(0, 1), 200)
    assert frames[1] >= 199
    assert frames[0] <= 1


def test_a_newcomer_does_not_overtake_those_who_wait():
    turns, (a, b, c) = Turns(1, 0.033), members(0, 0, 0)
    turns.ask(a)
    turns.ask(b)
    turns.done(a)
    assert not turns.ask(c), "b was first"
    assert turns.under_way[b] == 1


@pytest.mark.parametrize(
    ("frame_seconds", "limit"), [(0.001, 16), (0.005, 6), (0.010, 3), (0.033, 1), (0.100, 1)]
)
def test_the_limit_keeps_the_time_on_the_device_within_the_bound(frame_seconds, limit):
    turns, (a,) = Turns(16, 0.033), members(0)
    assert turns.limit == 16, "before anything is known"
    turns.done(a, frame_seconds)
    assert turns.limit == limit
    assert limit * frame_seconds <= 0.033 or limit == 1


def test_the_mean_follows_a_device_that_slows_down_and_forgets_a_hiccup():
    turns, (a,) = Turns(16, 0.033), members(0)
    for _ in range(50):
        turns.done(a, 0.002)
    turns.done(a, 0.020)
    assert turns.frame_seconds == pytest.approx(0.0038)
    for _ in range(50):
        turns.done(a, 0.010)
    assert turns.limit == 3


def test_a_stream_that_leaves_gives_its_turns_back_and_waits_no_more():
    turns, (a, b, c) = Turns(1, 0.033), members(0, 0, 0)
    turns.ask(a)
    turns.ask(b)
    turns.ask(c)
    turns.leave(b)
    turns.leave(a)
    assert turns.give() is c


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Turns(0, 1), "at least 1, got 0"),
        (lambda: Turns(1, 0), "latency bound: expected more than 0"),
        (lambda: Turns(1, 1, "lucky"), "policy: expected one of fair, priority, got 'lucky'"),
        (lambda: Batches(0, 1), "batch: expected at least 1 frame"),
        (lambda: Batches(1, -1), "batch: expected to wait at least 0 s"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, message):
    with pytest.raises(UsageError, match=message):
        make()


# -- batches


def taken(batches, *frames, **options):
    for frame in frames:
        batches.add(frame, 1.0, most=4, **options)
    return batches


def test_a_full_batch_goes_at_once():
    batches = taken(Batches(2, 0.002), "a")
    assert batches.take(1.0, to_come=[(None, None)] * 3) == []
    taken(batches, "b", "c")
    assert batches.take(1.0, to_come=[(None, None)] * 2) == ["a", "b"]
    assert len(batches) == 1


def test_a_batch_goes_when_its_first_frame_has_waited_long_enough():
    batches = taken(Batches(4, 0.002), "a")
    batches.add("b", 1.0015, most=4)
    assert batches.due() == pytest.approx(1.002)
    assert batches.take(1.0019, to_come=[(None, None)]) == []
    assert batches.take(1.002, to_come=[(None, None)]) == ["a", "b"]
    assert batches.due() == float("inf")


def test_a_batch_does_not_wait_for_frames_that_cannot_come():
    batches = taken(Batches(4, 10.0), "a")
    assert batches.take(1.0, to_come=()) == ["a"]
    assert batches.sizes == {1: 1}
    assert batches.take(2.0, to_come=()) == []


def test_a_batch_waits_only_for_frames_that_could_go_with_it():
    """Not for those of another engine, nor of a stream whose frame is in it already."""
    batches = Batches(4, 10.0)
    batches.add("a1", 1.0, engine=1, most=4, alone="a")
    assert batches.take(1.0, [(1, "a"), (1, "b")]) == []
    assert batches.take(1.0, [(1, None)]) == []
    assert batches.take(1.0, [(1, "a"), (2, "b"), (2, None)]) == ["a1"]


def test_an_engine_that_takes_one_frame_at_a_time_is_never_waited_for():
    batches = Batches(4, 10.0)
    batches.add("a", 1.0, most=1)
    batches.add("b", 1.0, most=1)
    assert batches.take(1.0, to_come=[(None, None)] * 3) == ["a"]
    assert batches.take(1.0, to_come=[(None, None)] * 3) == ["b"]


def test_only_frames_for_the_same_engine_go_together():
    batches = Batches(4, 0.0)
    for frame, engine in (("a", 1), ("b", 2), ("c", 1), ("d", 2)):
        batches.add(frame, 1.0, engine=engine, most=4)
    assert batches.take(1.0, to_come=()) == ["a", "c"]
    assert batches.take(1.0, to_come=()) == ["b", "d"]


def test_two_frames_of_a_stream_with_state_never_go_together_and_stay_in_order():
    batches = Batches(4, 0.0)
    for frame in ("a1", "a2", "b1", "a3", "b2"):
        batches.add(frame, 1.0, most=4, alone=frame[0])
    assert [batches.take(1.0) for _ in range(4)] == [["a1", "b1"], ["a2", "b2"], ["a3"], []]


def test_frames_of_a_busy_engine_wait_and_others_pass_them():
    batches = Batches(4, 0.002)
    for frame, engine in (("a", 1), ("b", 2), ("c", 1)):
        batches.add(frame, 1.0, engine=engine, most=4)
    assert batches.take(1.0, busy={1}) == ["b"]
    assert batches.take(9.0, busy={1}) == []
    assert batches.due({1}) == float("inf")
    assert batches.take(9.0) == ["a", "c"]
    assert batches.sizes == {1: 1, 2: 1}
