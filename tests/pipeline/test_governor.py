"""What may be in flight, on made-up clusters: no Dask, no waiting."""

import pytest

import pipeline.governor
from pipeline.governor import Governor, Workers


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that only a test moves."""
    now = [100.0]

    class Clock:
        @staticmethod
        def monotonic():
            return now[0]

    monkeypatch.setattr(pipeline.governor, "time", Clock)
    return now


def seats(governor, *resources):
    return [governor.join(lambda: None, resource) for resource in resources]


def taken(seat):
    n = 0
    while seat.take():
        n += 1
    return n


def test_two_batches_a_worker_are_in_flight_and_streams_share_them_evenly():
    (alone,) = seats(Governor(lambda: Workers(3)), None)
    assert taken(alone) == 6
    one, two = seats(Governor(lambda: Workers(3)), None, None)
    assert (taken(one), taken(two)) == (3, 3)


def test_every_stream_has_one_batch_in_flight_however_few_workers_there_are():
    four = seats(Governor(lambda: Workers(1)), *[None] * 4)
    assert [taken(seat) for seat in four] == [1, 1, 1, 1]


def test_what_a_stream_leaves_the_others_take():
    woken = []
    governor = Governor(lambda: Workers(2))
    with governor.join(lambda: None) as first:
        second = governor.join(lambda: woken.append("second"))
        assert (taken(first), taken(second)) == (2, 2)
        first.give_back()
        first.give_back()
    assert "second" in woken
    assert taken(second) == 2


def test_worker_that_joins_late_is_counted_at_the_next_look(clock):
    n = [1]
    (seat,) = seats(Governor(lambda: Workers(n[0])), None)
    assert taken(seat) == 2
    n[0] = 4
    assert taken(seat) == 0
    clock[0] += 1.1
    assert taken(seat) == 6


def test_adaptive_cluster_without_workers_is_given_work_to_grow_by():
    (seat,) = seats(Governor(lambda: Workers(0), n_coming=8), None)
    assert taken(seat) == 16


def test_stream_for_graphics_cards_counts_only_workers_that_have_one_and_takes_no_slot_of_the_others():
    governor = Governor(lambda: Workers(5, {"GPU": 1}))
    graphic, plain = seats(governor, "GPU", None)
    assert (taken(graphic), taken(plain)) == (2, 10)


def test_suspect_is_tried_when_all_others_have_ended_or_wait_for_the_same():
    governor = Governor(lambda: Workers(2))
    one, two = seats(governor, None, None)
    assert two.take()
    assert not one.take_alone()
    two.give_back()
    assert not one.take_alone()  # the second one may have more to do
    assert two.take_alone()
    assert not one.take_alone()
    assert not one.take()
    two.give_back()
    assert one.take_alone()


def test_batches_shrink_while_a_worker_is_nearly_full_and_grow_again_after_a_while(clock):
    fullest = [0.8]
    governor = Governor(lambda: Workers(2, {}, fullest[0]))
    shares = []
    for _ in range(6):
        shares.append(governor.batch_share)
        clock[0] += 1.1
    assert shares == [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 16, 1 / 16]
    fullest[0] = 0.6
    assert governor.batch_share == 1 / 16
    fullest[0] = 0.2
    for _ in range(30):
        clock[0] += 1.1
        last = governor.batch_share
    assert last == 1 / 8


def test_nothing_is_submitted_once_it_is_stopped():
    woken = []
    governor = Governor(lambda: Workers(2))
    seat = governor.join(lambda: woken.append(1))
    governor.stop()
    assert woken
    assert not seat.take()
    assert not seat.take_alone()
