"""Estimates in words: no more digits than are known."""

import pytest

from flows.cli.rough import costs_in_words, rough_size, rough_time
from pipeline.estimate import Estimate, StreamEstimate


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.2, "under 1 s"),
        (8.4, "8 s"),
        (59.9, "1 min"),
        (83, "1 min 20 s"),
        (599, "10 min"),
        (1405, "23 min"),
        (5_900, "1 h 40 min"),
        (110_000, "31 h"),
    ],
)
def test_time_has_two_digits(seconds, words):
    assert rough_time(seconds) == words


@pytest.mark.parametrize(
    ("n_bytes", "words"),
    [
        (0, "0 MB"),
        (820, "0.8 kB"),
        (34_900_000, "35 MB"),
        (647_000, "650 kB"),
        (999_600, "1.0 MB"),
        (1.234e9, "1.2 GB"),
        (45.6e12, "46 TB"),
    ],
)
def test_size_has_two_digits(n_bytes, words):
    assert rough_size(n_bytes) == words


def test_total_names_its_source_and_what_is_not_in_it():
    by_history = StreamEstimate("timbre", "history", 100.0, 30e6)
    by_probe = StreamEstimate("pitch", "probe", 170.0, 5e6)
    unknown = StreamEstimate("neural", problem="it died")
    assert (
        costs_in_words(Estimate(2, 140.0, 35e6, (by_history, by_probe, unknown)))
        == "about 2 min 20 s on 2 workers, 35 MB, by trying a few clips of pitch; neural unknown: it died"
    )
    assert (
        costs_in_words(Estimate(1, 105.0, 30e6, (by_history,)))
        == "about 1 min 40 s on 1 worker, 30 MB, by what has been extracted before"
    )
    assert costs_in_words(Estimate(1, 0.0, 0.0, (unknown,))) == "time and size are unknown; neural unknown: it died"
