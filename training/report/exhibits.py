"""Where the marks of the exhibits lie: points of the map, a pitch contour over its picture, tints of shares."""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass

from training.exhibits.embedding_map import EmbeddingMap, Point
from training.exhibits.mistakes import Mistake
from training.exhibits.sound import Contour, Sound

MOST_COLOURS = 10
"""Classes up to which each has a colour of its own on the map."""

LONGEST_NAME = 120
"""Of a longer file name the end is shown."""

MAP_WIDTH = 1_000
FREQUENCY_TICKS_HZ = (100, 300, 1_000, 3_000)


@dataclass(frozen=True)
class Dot:
    """A point of the map in the units of its picture; `classes` are the places of its true labels."""

    x: float
    y: float
    classes: tuple[int, ...]
    point: Point


@dataclass(frozen=True)
class MapView:
    """`labels` are those that any point truly has; `is_coloured` where each has a colour of its own."""

    method: str
    n_tested: int
    height: int
    labels: tuple[str, ...]
    is_coloured: bool
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class Line:
    """A stretch of a pitch contour as the points of an SVG polyline, x and y in 0 to 1000; `opacity` 0 to 1."""

    points: str
    opacity: float


@dataclass(frozen=True)
class MistakeView:
    """A mistake with what is drawn of it; `contour` is empty where nothing is voiced or known."""

    mistake: Mistake
    name: str
    picture: str
    audio: str
    contour: tuple[Line, ...]
    frequencies: tuple[tuple[str, float], ...]
    seconds: tuple[tuple[str, float], ...]


def view_map(found: EmbeddingMap) -> MapView:
    """Right answers are placed first, so that mistakes are drawn over them."""
    labels = tuple(sorted({label for point in found.points for label in point.truth}))
    place = {label: i for i, label in enumerate(labels)}
    rows = [point.y for point in found.points]
    margin = 24
    scale = MAP_WIDTH - 2 * margin
    top, bottom = min(rows), max(rows)
    dots = [
        Dot(
            round(margin + scale * point.x, 1),
            round(margin + scale * (point.y - top), 1),
            tuple(place[label] for label in point.truth),
            point,
        )
        for point in sorted(found.points, key=lambda point: not point.is_right)
    ]
    height = round(2 * margin + scale * (bottom - top))
    return MapView(found.method, found.n_tested, height, labels, len(labels) <= MOST_COLOURS, tuple(dots))


def view_mistake(mistake: Mistake) -> MistakeView:
    sound = mistake.sound
    if sound is None:
        return MistakeView(mistake, shorten(mistake.uri), "", "", (), (), ())
    marks = [hz for hz in FREQUENCY_TICKS_HZ if sound.low_hz < hz < sound.high_hz]
    step_s = 1 if sound.length_s > 2 else 0.5
    n_steps = math.floor(sound.length_s / step_s + 1e-9)
    return MistakeView(
        mistake,
        shorten(mistake.uri),
        data_uri("image/png", sound.picture_png),
        data_uri("audio/flac", sound.audio_flac),
        contour_lines(mistake.contour, sound) if mistake.contour else (),
        tuple((f"{hz / 1000:g} kHz" if hz >= 1000 else f"{hz} Hz", height_of(hz, sound)) for hz in marks),
        tuple(
            (f"{sound.start_s + i * step_s:g}", round(100 * i * step_s / sound.length_s, 2)) for i in range(n_steps + 1)
        ),
    )


def data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def shorten(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"…{name[-LONGEST_NAME:]}"


def height_of(hz: float, sound: Sound) -> float:
    """Where a frequency lies in percent from the top of the picture."""
    return round(100 * math.log(sound.high_hz / hz) / math.log(sound.high_hz / sound.low_hz), 2)


def contour_lines(contour: Contour, sound: Sound) -> tuple[Line, ...]:
    """The contour within the picture: a new line wherever frames are missing or become surer or less sure."""
    stretches: list[tuple[float, list[tuple[float, float]]]] = []
    last_s = -math.inf
    for time_s, hz, sure in zip(contour.times_s, contour.f0_hz, contour.periodicity, strict=True):
        within_s = time_s - sound.start_s
        if not (0 <= within_s <= sound.length_s and sound.low_hz <= hz <= sound.high_hz):
            continue
        opacity = round(min(1.0, max(0.5, sure)) * 4) / 4
        here = (1000 * within_s / sound.length_s, 10 * height_of(hz, sound))
        if not stretches or within_s - last_s > 1.5 * contour.hop_s:
            stretches.append((opacity, [here]))
        elif stretches[-1][0] != opacity:
            stretches.append((opacity, [stretches[-1][1][-1], here]))
        else:
            stretches[-1][1].append(here)
        last_s = within_s
    half = 500 * contour.hop_s / sound.length_s  # a single frame is as long as its hop
    return tuple(Line(_points(where, half), opacity) for opacity, where in stretches)


def tint(value: float, largest: float) -> int:
    """How strong a cell is coloured, in percent, for `value` among values up to `largest` in size."""
    return round(min(60.0, 60 * abs(value) / largest)) if largest > 0 and math.isfinite(value) else 0


def _points(where: Sequence[tuple[float, float]], half: float) -> str:
    if len(where) == 1:
        ((x, y),) = where
        where = [(x - half, y), (x + half, y)]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in where)
