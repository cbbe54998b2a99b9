"""Copies as files: the clean one decodes to the recording itself, and one bad file costs its own copies only."""

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from pipeline.conditions import make_conditions
from pipeline.damaged import Job, Original, rounds, write_copies
from pipeline.decode import decode, hash_file
from storage_schema.errors import InputError
from tests.pipeline.conftest import write_sine

CONDITIONS = make_conditions()
IS_RECORDED = [condition.needs_noise for condition in CONDITIONS]


def job_of(path, folder, noises=(), never=(), clip_id=None):
    original = Original(clip_id or hash_file(path), [str(path)], [str(noise) for noise in noises], never)
    return Job(original, [(condition, folder / f"{i}.wav") for i, condition in enumerate(CONDITIONS)])


def write_noise(path, *, is_silent=False):
    soundfile.write(path, np.zeros(4_000) if is_silent else np.random.default_rng(1).uniform(-0.5, 0.5, 4_000), 8_000)
    return path


@pytest.mark.parametrize("suffix", ["wav", "ogg", "flac"])
def test_a_clean_copy_decodes_to_the_bits_of_the_recording(tmp_path, suffix):
    stereo = np.random.default_rng(0).uniform(-0.9, 0.9, (6_000, 2))
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, stereo, 44_100)
    assert write_copies([job_of(path, tmp_path / "copies", [write_noise(tmp_path / "noise.wav")])], 0, 1) == [
        [None] * 11
    ]
    for rate_hz in (44_100, 16_000, 48_000):
        np.testing.assert_array_equal(decode(tmp_path / "copies" / "0.wav", rate_hz), decode(path, rate_hz))
        for i in range(1, 11):
            assert decode(tmp_path / "copies" / f"{i}.wav", rate_hz).shape == decode(path, rate_hz).shape


def test_the_same_seed_writes_the_same_bytes_and_another_draws_anew(tmp_path):
    path, noise = write_sine(tmp_path / "a.wav"), write_sine(tmp_path / "long.wav", 3_000, 2.0)
    soundfile.write(noise, np.random.default_rng(1).uniform(-0.5, 0.5, 32_000), 16_000)
    for name, seed in (("first", 0), ("again", 0), ("other", 1)):
        write_copies([job_of(path, tmp_path / name, [noise])], seed, 2)
    for i, condition in enumerate(CONDITIONS):
        first, again, other = ((tmp_path / name / f"{i}.wav").read_bytes() for name in ("first", "again", "other"))
        assert first == again
        assert (first != other) == ("noise" in condition.name)


def test_a_recording_that_is_gone_or_changed_is_named_and_costs_no_other(tmp_path):
    good, gone, changed = (write_sine(tmp_path / f"{i}.wav", 200 + i) for i in range(3))
    noise = [write_noise(tmp_path / "noise.wav")]
    jobs = [job_of(path, tmp_path / path.stem, noise) for path in (gone, changed, good)]
    gone.unlink()
    write_sine(changed, 999)
    seen = []
    lost, other, fine = write_copies(jobs, 0, 2, lambda *args: seen.append(args))
    assert set(lost) == {f"vanished: {gone} is not there (No such file or directory); restore it, or ingest again"}
    assert set(other) == {f"changed: {changed} is not the recording that the run was made of"}
    assert fine == [None] * 11
    assert seen[-1] == ("damaging", 3, 3)
    moved = Job(Original(jobs[2].original.clip_id, [str(gone), str(good)]), jobs[2].copies[:1])
    assert write_copies([moved], 0, 1) == [[None]]  # it lies at another place that the store knows


def test_noise_that_is_gone_silent_or_forbidden_is_passed_over(tmp_path):
    clip, good = write_sine(tmp_path / "a.wav"), write_noise(tmp_path / "good.wav")
    silent, forbidden = write_noise(tmp_path / "silent.wav", is_silent=True), write_sine(tmp_path / "own.wav", 300)
    bad = [tmp_path / "gone.wav", silent, forbidden]
    never = {hash_file(forbidden)}
    assert write_copies([job_of(clip, tmp_path / "copies", [*bad, good], never)], 0, 1) == [[None] * 11]
    (problems,) = write_copies([job_of(clip, tmp_path / "none", bad, never)], 0, 1)
    assert [problem is not None for problem in problems] == IS_RECORDED
    assert {problem for problem in problems if problem} == {f"{clip}: no recording was found to mix in"}


def test_a_copy_that_cannot_be_written_ends_it_with_a_sentence(tmp_path):
    clip = write_sine(tmp_path / "a.wav")
    with pytest.raises(InputError, match=r"cannot be written to .*; make room, or set TMPDIR"):
        write_copies([job_of(clip, clip / "below a file", [clip])], 0, 2)


@given(st.lists(st.integers(1, 50)), st.integers(1, 100))
def test_rounds_tile_the_copies_and_keep_to_the_limit(sizes, limit):
    cuts = rounds(sizes, limit)
    assert [i for start, stop in cuts for i in range(start, stop)] == list(range(len(sizes)))
    assert all(stop > start and (stop - start == 1 or sum(sizes[start:stop]) <= limit) for start, stop in cuts)
