"""The demo's notes: one small rendering by the real synthesizer, shared by the tests, and the repair of SoundFonts."""

import shutil
import struct
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from features.weights import weight_path
from pipeline.datasets import ADAPTERS
from pipeline.datasets.general_midi import Note, render, velocity_gain, without_negative_loop_offsets
from pipeline.datasets.general_midi_names import PROGRAMS
from storage_schema.errors import InputError

N_NOTES = 3
DURATION_S = 0.3
WHISTLE = 78


def _render(root: Path, **others: int) -> Path:
    arguments = {"n_notes": N_NOTES, "seed": 5, **others}
    render(root, soundfont=weight_path("general-midi"), duration_s=DURATION_S, **arguments)
    return root


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _render(tmp_path_factory.mktemp("general_midi"))


def _contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_there_are_128_programs_of_different_names() -> None:
    assert len(set(PROGRAMS)) == len(PROGRAMS) == 128


def test_every_program_has_its_notes_and_one_of_them_is_for_the_test(rendered: Path) -> None:
    splits = defaultdict(list)
    for clip in ADAPTERS["general_midi"](rendered):
        splits[clip.labels].append(clip.split)
    assert set(splits) == {(name,) for name in PROGRAMS}
    assert all(sorted(found) == ["test", "train", "train"] for found in splits.values())


def test_no_pitch_of_a_program_is_both_trained_on_and_tested(rendered: Path) -> None:
    clips = ADAPTERS["general_midi"](rendered)
    groups = {split: {clip.source_group for clip in clips if clip.split == split} for split in ("train", "test")}
    assert len(groups["train"]) + len(groups["test"]) == len(PROGRAMS) * N_NOTES
    assert not groups["train"] & groups["test"]


def test_every_note_is_audible_unclipped_and_as_long_as_asked(rendered: Path) -> None:
    for clip in ADAPTERS["general_midi"](rendered):
        samples, rate_hz = soundfile.read(rendered / clip.uri)
        assert (samples.shape, rate_hz) == ((round(DURATION_S * 44_100),), 44_100)
        assert 50 / 2**15 < np.abs(samples).max() < 1.0, clip.uri  # at least 50 steps of 16 bits


def test_a_second_rendering_writes_the_same_bytes(rendered: Path, tmp_path: Path) -> None:
    assert _contents(_render(tmp_path)) == _contents(rendered)


def test_an_interrupted_rendering_goes_on_to_the_same_bytes(rendered: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(rendered, tmp_path / "copy"))
    (root / "metadata.csv").unlink()
    for program in (3, WHISTLE, 127):
        next((root / f"{program:03d}").iterdir()).unlink()
    assert _contents(_render(root)) == _contents(rendered)


def test_a_folder_with_another_rendering_is_left_alone(rendered: Path) -> None:
    before = _contents(rendered)
    with pytest.raises(InputError, match="other arguments"):
        _render(rendered, seed=6)
    assert _contents(rendered) == before


def test_progress_counts_the_programs(rendered: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    render(
        rendered,
        soundfont=weight_path("general-midi"),
        n_notes=N_NOTES,
        seed=5,
        duration_s=DURATION_S,
        on_progress=lambda *event: seen.append(event),
    )
    assert seen == [("render", done, 128) for done in range(1, 129)]


def test_velocity_follows_the_curve_of_the_standard() -> None:
    assert velocity_gain(127) == 1.0
    assert 20 * np.log10(velocity_gain(64) / velocity_gain(127)) == pytest.approx(-40 * np.log10(127 / 64))


def test_a_note_is_filed_under_its_program() -> None:
    assert Note(7, 60, 100, "train").uri == "007/007-060-100.flac"


def _soundfont(generators: list[tuple[int, int]]) -> bytes:
    """The least that has a list of instrument generators, each an operator and an amount."""
    igen = b"".join(struct.pack("<Hh", *generator) for generator in generators)
    pdta = b"pdta" + struct.pack("<4sI", b"odd ", 3) + b"xyz\0" + struct.pack("<4sI", b"igen", len(igen)) + igen
    info = b"INFO" + struct.pack("<4sI", b"igen", 4) + b"\2\0\xff\xff"  # not the one that is meant
    chunks = b"".join(struct.pack("<4sI", b"LIST", len(chunk)) + chunk for chunk in (info, pdta))
    return struct.pack("<4sI4s", b"RIFF", 4 + len(chunks), b"sfbk") + chunks


def test_only_negative_loop_offsets_are_set_to_zero() -> None:
    before = [(2, -3957), (3, -1), (2, 12), (3, 0), (8, -5), (53, 10)]
    after = [(2, 0), (3, 0), (2, 12), (3, 0), (8, -5), (53, 10)]
    assert without_negative_loop_offsets(_soundfont(before)) == _soundfont(after)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"not a soundfont at all", _soundfont([])[:40]])
def test_bytes_that_are_no_soundfont_never_reach_the_synthesizer(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.sf2"
    path.write_bytes(content)
    with pytest.raises(InputError, match="SoundFont"):
        render(tmp_path / "out", soundfont=path)


def test_a_missing_soundfont_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.sf2"):
        render(tmp_path / "out", soundfont=tmp_path / "nowhere.sf2")


@pytest.mark.parametrize("wrong", [{"n_notes": 1}, {"n_notes": 25}, {"seed": -1}])
def test_arguments_out_of_range_are_refused(wrong: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        _render(tmp_path, **wrong)
