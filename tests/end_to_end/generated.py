"""Small sets in the exact folder format of the datasets that have a recipe: a few short synthetic clips a class.

A class is a tone of its own pitch and colour, or noise in a band of its own, so that there is something to learn; the
files differ in rate, channels, width and length as those of the archives do, and one clip of each set is silent.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile

ESC10 = (
    "dog", "rooster", "rain", "sea_waves", "crackling_fire", "crying_baby", "sneezing", "clock_tick", "helicopter",
    "chainsaw",
)  # fmt: skip
OTHERS_OF_ESC50 = ("airplane", "thunderstorm")
ESC50_FOLDS = 5

URBAN = ("air_conditioner", "dog_bark", "siren")
URBAN_FOLDS = 10

FSD_LEAVES = {
    "Bark": ("Bark", "Dog", "Domestic_animals_and_pets", "Animal"),
    "Meow": ("Meow", "Cat", "Domestic_animals_and_pets", "Animal"),
    "Electric_guitar": ("Electric_guitar", "Guitar", "Plucked_string_instrument", "Musical_instrument", "Music"),
    "Rain": ("Rain", "Water"),
}
"""Each with all it is a kind of, as the ground truth of FSD50K smears labels up its hierarchy."""
FSD_CLIPS = {"train": 16, "val": 8, "eval": 12}


PROGRAMS = {0: "Acoustic Grand Piano", 40: "Violin", 73: "Flute"}
NOTES = 6
"""A program; the last two of each are tested on."""


def make_esc50(root: Path) -> None:
    """One clip a label and fold, each of a recording of its own; ESC-10's labels and two that it has not."""
    labels = sorted((*ESC10, *OTHERS_OF_ESC50))
    rows = []
    for fold in range(1, ESC50_FOLDS + 1):
        for target, label in enumerate(labels):
            source = 100_000 * fold + target
            name = f"{fold}-{source}-A-{target}.wav"
            _write(root / "audio" / name, target, len(labels), seed=source, is_silent=(fold, target) == (1, 0))
            rows.append((name, fold, target, label, label in ESC10, source, "A"))
    header = ("filename", "fold", "target", "category", "esc10", "src_file", "take")
    _write_table(root / "meta" / "esc50.csv", header, rows)


def make_urbansound8k(root: Path) -> None:
    """Two slices of one recording, or one slice of another, a class and fold; of 0.3 to 1.4 s and in many formats."""
    rows = []
    for fold in range(1, URBAN_FOLDS + 1):
        for number, label in enumerate(URBAN):
            source = 1_000 * fold + number
            for cut in range(1 + (fold + number) % 2):
                name = f"{source}-{number}-0-{cut}.wav"
                _write(
                    root / "audio" / f"fold{fold}" / name,
                    number,
                    len(URBAN),
                    seed=10 * source + cut,
                    seconds=(0.3, 0.8, 1.4)[(fold + cut) % 3],
                    sample_rate_hz=(44_100, 22_050, 48_000)[fold % 3],
                    n_channels=1 + fold % 2,
                    subtype=("PCM_16", "PCM_24", "PCM_U8")[number],
                    is_silent=(fold, number, cut) == (1, 0, 0),
                )
                rows.append((name, source, 0.0, 0.5, 1 + fold % 2, fold, number, label))
    header = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
    _write_table(root / "metadata" / "UrbanSound8K.csv", header, rows)


def make_fsd50k(root: Path) -> None:
    """Clips of one leaf each, or of two at once, with all that those are kinds of; dev and eval in two folders."""
    leaves = list(FSD_LEAVES)
    mids = {label: f"/m/{i:05}" for i, label in enumerate(sorted({x for above in FSD_LEAVES.values() for x in above}))}
    tables: dict[str, list[tuple[object, ...]]] = {"dev": [], "eval": []}
    number = 1_000
    for split, n_clips in FSD_CLIPS.items():
        table = "eval" if split == "eval" else "dev"
        for i in range(n_clips):
            number += 7
            heard = [leaves[i % 4], leaves[(i + 1) % 4]] if i % 5 == 4 else [leaves[i % 4]]
            is_odd = split == "eval" and i == 1
            _write(
                root / f"FSD50K.{table}_audio" / f"{number}.wav",
                leaves.index(heard[0]),
                len(leaves),
                seed=number,
                and_voice=leaves.index(heard[1]) if len(heard) > 1 else None,
                seconds=(2.0, 0.4, 1.5)[i % 3],
                sample_rate_hz=22_050 if is_odd else 44_100,
                n_channels=2 if is_odd else 1,
                is_silent=split == "train" and i == 0,
            )
            labels = list(dict.fromkeys(label for leaf in heard for label in FSD_LEAVES[leaf]))
            row = (number, ",".join(labels), ",".join(mids[label] for label in labels))
            tables[table].append(row if split == "eval" else (*row, split))
    truth = root / "FSD50K.ground_truth"
    _write_table(truth / "dev.csv", ("fname", "labels", "mids", "split"), tables["dev"])
    _write_table(truth / "eval.csv", ("fname", "labels", "mids"), tables["eval"])
    rows = [(i, label, mids[label]) for i, label in enumerate(sorted(mids))]
    _write_table(truth / "vocabulary.csv", rows[0], rows[1:])  # it has no header


def make_general_midi(root: Path) -> None:
    """A folder as `pipeline.datasets.general_midi.render` leaves it, of few programs and without a SoundFont."""
    rows = []
    for voice, (program, label) in enumerate(PROGRAMS.items()):
        for i in range(NOTES):
            name = f"{program:03}/{program:03}-{48 + i:03}-100.flac"
            _write(root / name, voice, len(PROGRAMS), seed=100 * program + i, seconds=1.5)
            split = "test" if i >= NOTES - 2 else "train"
            rows.append((name, label, split, f"{program:03}-{48 + i:03}", program, 48 + i, 100))
    _write_table(root / "metadata.csv", ("path", "label", "split", "group", "program", "pitch", "velocity"), rows)


def _write(
    path: Path,
    voice: int,
    n_voices: int,
    *,
    seed: int,
    and_voice: int | None = None,
    seconds: float = 1.0,
    sample_rate_hz: int = 44_100,
    n_channels: int = 1,
    subtype: str = "PCM_16",
    is_silent: bool = False,
) -> None:
    """A clip in which one voice, or two, is heard; the channels of a stereo clip differ by their noise alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * sample_rate_hz)) / sample_rate_hz
    voices = [voice] if and_voice is None else [voice, and_voice]
    sound = sum((_voice(one, n_voices, t, rng) for one in voices), np.zeros(len(t)))
    samples = sound[:, None] + 0.01 * rng.standard_normal((len(t), n_channels))  # (sample, channel)
    soundfile.write(path, samples * (not is_silent), sample_rate_hz, subtype=subtype)


def _voice(voice: int, n_voices: int, t: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A tone between 80 Hz and 2 kHz with few or many harmonics; every third voice beats four times a second."""
    f0_hz = 80 * 25 ** (voice / max(1, n_voices - 1)) * rng.uniform(0.95, 1.05)
    n_harmonics = 1 + 3 * (voice % 4)
    tone = sum(np.sin(2 * np.pi * k * f0_hz * t + rng.uniform(0, 6)) / k for k in range(1, n_harmonics + 1))
    return 0.15 * np.asarray(tone) * (1 + np.sign(np.sin(8 * np.pi * t)) if voice % 3 == 2 else 1)


def _write_table(path: Path, header: Sequence[object], rows: Iterable[Sequence[object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
