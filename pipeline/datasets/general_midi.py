"""The demo's sounds: notes of the 128 General MIDI programs, played by a SoundFont synthesizer.

Rendered, not recorded, so that anyone has them in half a minute and their licence is no question. Each program gets
notes of different pitches and velocities; a quarter of its pitches are for the test, and none of those is among its
training notes: what is learned has to carry over to a pitch never heard. The folder that results is a dataset of the
`csv` layout.

symusic's synthesizer (prestosynth) needs help twice. It plays every velocity equally loud, so the gain is ours, by the
SoundFont standard's own curve. And it takes a negative loop offset, which the standard allows and one program of
TimGM6mb uses (78, Whistle), for a huge one and plays whatever lies in memory there, differently each time: such offsets
are set to zero in a copy of the SoundFont before it sees it.
"""

import csv
import hashlib
import io
import json
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import symusic
from numpy.typing import NDArray

from pipeline.datasets.csv import METADATA_NAME
from pipeline.datasets.general_midi_names import PROGRAMS
from storage_schema.atomic import write_file
from storage_schema.errors import InputError
from storage_schema.progress import OnProgress, no_progress

SAMPLE_RATE_HZ = 44_100
PITCHES = range(36, 85)
"""MIDI numbers, C2 to C6: four octaves that nearly every program can play."""
VELOCITIES = range(40, 128)
TEST_SHARE = 0.25
"""Of a program's pitches, the share kept for the test."""

_HELD_SHARE = 2 / 3
"""Of a note's duration, the part before its release: 1 s of 1.5 s."""
_HEADROOM = 0.5
"""-6 dB: the loudest programs of TimGM6mb peak near twice full scale; a note still louder is scaled to fit."""
_SILENCE = 2e-3
"""RMS, full scale at 1, below which a program is taken not to have that pitch."""
_TICKS_PER_SECOND = 960
"""480 ticks a quarter note at symusic's default of 120 quarter notes a minute."""

_RENDERING_NAME = "rendering.json"
_RENDERER_VERSION = 1
"""Counts changes here that change the sounds."""


@dataclass(frozen=True)
class Note:
    """One note of the dataset; `program` from 0, `pitch` and `velocity` as MIDI numbers."""

    program: int
    pitch: int
    velocity: int
    split: str

    @property
    def uri(self) -> str:
        return f"{self.program:03d}/{self.program:03d}-{self.pitch:03d}-{self.velocity:03d}.flac"


def render(
    root: Path,
    *,
    soundfont: Path,
    n_notes: int = 8,
    seed: int = 0,
    duration_s: float = 1.5,
    on_progress: OnProgress = no_progress,
) -> None:
    """Fill `root` with `n_notes` notes of each program as 44.1 kHz mono 16-bit FLAC, and `metadata.csv`.

    The same arguments write the same bytes. A rendering that was interrupted goes on where it stopped.
    Raises InputError where an argument is out of range, `soundfont` is not one, a program lacks that many audible
    pitches, or `root` holds a rendering made with other arguments.
    """
    if not (2 <= n_notes <= len(PITCHES) // 2 and seed >= 0 and 0.1 <= duration_s <= 60):
        raise InputError(
            f"a rendering has 2 to {len(PITCHES) // 2} notes a program, a seed from 0 and notes of 0.1 to 60 s, "
            f"not n_notes={n_notes}, seed={seed}, duration_s={duration_s}"
        )
    repaired = without_negative_loop_offsets(_read_soundfont(soundfont))
    root.mkdir(parents=True, exist_ok=True)
    _claim(
        root,
        {
            "renderer_version": _RENDERER_VERSION,
            "soundfont_sha256": hashlib.sha256(repaired).hexdigest(),
            "n_notes": n_notes,
            "seed": seed,
            "duration_s": duration_s,
        },
    )
    notes: list[Note] = []
    with _synthesizer(repaired) as synthesizer:
        for program in range(len(PROGRAMS)):
            (root / f"{program:03d}").mkdir(exist_ok=True)
            notes += _render_program(root, synthesizer, program, n_notes, seed, duration_s)
            on_progress("render", program + 1, len(PROGRAMS))
    write_file(root / METADATA_NAME, _metadata(notes).encode())


def without_negative_loop_offsets(content: bytes) -> bytes:
    """The SoundFont `content` with negative offsets of loop points set to zero; the sample's own loop is used instead.

    Raises InputError where `content` is no SoundFont 2. Source of the layout: SoundFont Technical Specification 2.04,
    sections 7.9 (an `igen` record is an operator and an amount, 16 bits each) and 8.1.3 (operators 2 and 3).
    """
    if content[:4] != b"RIFF" or content[8:12] != b"sfbk":
        raise InputError("these bytes are no SoundFont 2; fetch the file again")
    start, n_bytes = _find_chunk(content, b"pdta", b"igen")
    repaired = bytearray(content)
    for at in range(start, start + n_bytes - 3, 4):
        operator, amount = struct.unpack_from("<Hh", content, at)
        if operator in (2, 3) and amount < 0:  # startloopAddrsOffset, endloopAddrsOffset
            struct.pack_into("<h", repaired, at + 2, 0)
    return bytes(repaired)


def _find_chunk(content: bytes, list_name: bytes, name: bytes) -> tuple[int, int]:
    """Where the data of chunk `name` inside the list `list_name` starts, and its length in bytes."""
    at = 12
    while at + 8 <= len(content):
        found, n_bytes = struct.unpack_from("<4sI", content, at)
        if found == name:
            return at + 8, min(n_bytes, len(content) - at - 8)
        is_wanted_list = found == b"LIST" and content[at + 8 : at + 12] == list_name
        at += 12 if is_wanted_list else 8 + n_bytes + n_bytes % 2  # chunks are padded to an even length
    raise InputError(f"the SoundFont has no chunk {name.decode()}; fetch the file again")


def _read_soundfont(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"the SoundFont {path} cannot be read: {error.strerror}; fetch it first") from error


def _claim(root: Path, rendering: dict[str, object]) -> None:
    """Write down what this rendering is; InputError where the folder holds another one."""
    path = root / _RENDERING_NAME
    text = json.dumps(rendering, indent=2) + "\n"
    if not path.exists():
        write_file(path, text.encode())
    elif path.read_text(encoding="utf-8", errors="replace") != text:
        raise InputError(f"{root} holds a rendering made with other arguments, see {path}; name another folder")


@contextmanager
def _synthesizer(content: bytes) -> Iterator[symusic.Synthesizer]:
    with tempfile.TemporaryDirectory() as folder:  # symusic reads a SoundFont only by its path
        path = Path(folder, "repaired.sf2")
        path.write_bytes(content)
        yield symusic.Synthesizer(path, SAMPLE_RATE_HZ)


def _render_program(
    root: Path, synthesizer: symusic.Synthesizer, program: int, n_notes: int, seed: int, duration_s: float
) -> list[Note]:
    """Write the program's notes: audible pitches in a seeded order, those for the test first."""
    random = np.random.default_rng((seed, program))
    n_test = max(1, round(TEST_SHARE * n_notes))
    notes: list[Note] = []
    for pitch, velocity in zip(random.permutation(PITCHES), random.choice(VELOCITIES, len(PITCHES)), strict=True):
        note = Note(program, int(pitch), int(velocity), "test" if len(notes) < n_test else "train")
        path = root / note.uri
        if not path.exists():
            waveform = play(synthesizer, note, duration_s)
            if waveform is None:
                continue
            write_file(path, _flac(waveform))
        notes.append(note)
        if len(notes) == n_notes:
            return notes
    raise InputError(
        f"the SoundFont plays {PROGRAMS[program]} at {len(notes)} of {n_notes} pitches; ask for fewer notes"
    )


def play(synthesizer: symusic.Synthesizer, note: Note, duration_s: float) -> NDArray[np.float32] | None:
    """The note as (n_samples,) within [-1, 1], silent after its release; None where the program has no such pitch."""
    score = symusic.Score(_TICKS_PER_SECOND // 2)
    track = symusic.Track(PROGRAMS[note.program], note.program, False)
    track.notes.append(symusic.Note(0, round(duration_s * _HELD_SHARE * _TICKS_PER_SECOND), note.pitch, note.velocity))
    score.tracks.append(track)
    n_samples = round(duration_s * SAMPLE_RATE_HZ)
    rendered = synthesizer.render(score, stereo=False)[0, :n_samples]
    if not np.isfinite(rendered).all() or np.sqrt(np.mean(np.square(rendered, dtype=np.float64))) < _SILENCE:
        return None
    waveform = np.zeros(n_samples, np.float32)
    waveform[: len(rendered)] = rendered * _HEADROOM * velocity_gain(note.velocity)
    return waveform / max(1.0, float(np.abs(waveform).max()))


def velocity_gain(velocity: int) -> float:
    """The amplitude of a MIDI velocity, 1 at 127: SoundFont 2.04, 8.4.1, a concave curve of 40 dB a decade."""
    return (velocity / 127) ** 2


def _flac(waveform: NDArray[np.float32]) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, waveform, SAMPLE_RATE_HZ, format="FLAC", subtype="PCM_16")
    return file.getvalue()


def _metadata(notes: list[Note]) -> str:
    """`metadata.csv`; a group is one pitch of one program, so that no other rendering of it could be parted from it."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "label", "split", "group", "program", "pitch", "velocity"))
    for note in sorted(notes, key=lambda note: note.uri):
        group = f"{note.program:03d}-{note.pitch:03d}"
        label = PROGRAMS[note.program]
        writer.writerow((note.uri, label, note.split, group, note.program, note.pitch, note.velocity))
    return text.getvalue()
