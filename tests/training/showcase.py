"""Results and exhibits made by hand, with whatever names a test wants: all that a report can show."""

from itertools import combinations

import numpy as np

from tests.training.synthetic import PITCH, WAVEFORM
from training.exhibits import Exhibits
from training.exhibits.embedding_map import EmbeddingMap, Point
from training.exhibits.mistakes import Belief, Mistake
from training.exhibits.shares import Share, Shares
from training.exhibits.sound import make_contour, make_sound
from training.results import AblationRow, Interval
from training.robustness.document import ConditionScore, LeftOut, RobustnessResult

STREAMS = ("pitch", "timbre", "neural")


def ablation(metric="accuracy", *, without=()):
    """Every subset of three streams by two fusions; a stream is worth its place: 0.3, 0.5, 0.7 and 0.02 together."""
    rows = []
    for size in (1, 2, 3):
        for streams in combinations(STREAMS, size):
            for fusion in ("alone",) if size == 1 else ("feature", "late"):
                best = 0.3 + 0.2 * max(STREAMS.index(stream) for stream in streams)
                value = best + 0.02 * (size - 1) + (0.01 if fusion == "late" else 0)
                rows.append(
                    AblationRow(
                        streams=streams,
                        fusion=fusion,
                        metrics={metric: Interval(value=value, low=value - 0.02, high=value + 0.02)},
                        n_parameters=100_000 * size,
                        train_s=10.0 * size,
                        extract_s_per_hour=60.0 * size,
                        bytes_per_hour=None if "pitch" in streams else 1e7 * size,
                    )
                )
    return tuple(row for row in rows if row.streams not in without)


def robustness(uri="gone.wav", streams=STREAMS, conditions=("clean", "white noise, 0 dB", "low-pass, 4 kHz")):
    """Every subset of streams under every condition: noise costs 30 points for sure, a low-pass perhaps 2."""
    subsets = [some for size in range(len(streams), 0, -1) for some in combinations(streams, size)]
    scores = []
    for some in subsets:
        for condition in conditions:
            loss = 0.3 if "noise" in condition else 0.02 if condition != "clean" else 0.0
            value = 0.9 - 0.1 * (len(streams) - len(some)) - loss
            difference = Interval(value=-loss, low=-loss - 0.05, high=-loss + 0.05)
            scores.append(
                ConditionScore(
                    streams=some,
                    condition=condition,
                    n_clips=10,
                    score=Interval(value=value, low=value - 0.05, high=value + 0.05),
                    difference=None if condition == "clean" else difference,
                )
            )
    return RobustnessResult(
        run_id="run",
        dataset="made",
        snapshot="1-2",
        headline="accuracy",
        conditions=tuple(conditions),
        subsets=tuple(subsets),
        n_test=12,
        n_clips=10,
        seed=0,
        noise="clips of other classes",
        scores=tuple(scores),
        left_out=(LeftOut(uri=uri, condition=None, reason=f"vanished: {uri} is not there"),),
        largest_difference=1e-7,
        audio_s=100.0,
        elapsed_s=10.0,
        measured_at="2026-01-01T00:00:00+00:00",
    )


def tone(frequency_hz, seconds, rate_hz=16_000):
    return np.rint(12_000 * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(
        np.int16
    )


def exhibits(labels, uri="a.wav", n_points=12):
    """A map, shares, and one mistake with sound (440 Hz) and one without."""
    points = tuple(
        Point(
            i / n_points,
            (i * 7 % n_points) / n_points,
            f"{i} {uri}",
            (labels[i % len(labels)],),
            (labels[i % len(labels) if i % 4 else (i + 1) % len(labels)],),
        )
        for i in range(n_points)
    )
    classes = tuple(Share(label, 4, 1 / len(labels), (0.1, 0.3, -0.05)) for label in labels)
    beliefs = [
        Belief(label, 0.1 + 0.8 * (1 - i), 0.1, {"pitch": 0.0, "timbre": -0.2 * i, "neural": 0.8 * (1 - i) + 0.2 * i})
        for i, label in enumerate(labels[:2])
    ]
    f0_hz = np.full(81, 440, np.float32)
    pitch = {"salience": np.zeros((81, 360), np.uint8), "f0_hz": f0_hz, "periodicity": np.full(81, 0.9, np.float32)}
    mistake = Mistake(uri, (labels[1],), beliefs[0], beliefs[1])
    heard = Mistake(
        uri,
        (labels[1],),
        beliefs[0],
        beliefs[1],
        make_sound(WAVEFORM, {"samples": tone(440, 2.0).reshape(-1, 400)}, 2.0),
        make_contour(PITCH, pitch),
    )
    shares = Shares(STREAMS, Share("all", 12, 1 / len(labels), (0.1, 0.3, -0.05)), classes)
    return Exhibits(EmbeddingMap("t-SNE", n_points, points), shares, (heard, mistake), 5, ())
