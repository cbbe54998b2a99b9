"""The streams of a clip decode it once between them, and never get anything else than its samples."""

import numpy as np
import pytest

import pipeline.extract
from features.registry import spec_for
from pipeline.batches import cut_batches
from pipeline.decode import Sound, read_sound
from pipeline.extract import extract_batch
from pipeline.plan import plan_extraction
from pipeline.recent import LARGEST_SHARE, RecentSounds
from tests.pipeline.conftest import WAVEFORM, write_sine

BYTES = 4 * 16_000


class Files:
    """Stands for recordings of given lengths, and counts how often they are read."""

    def __init__(self, lengths):
        self.sounds = [Sound(np.full(n, i, np.float32), 8_000 + i) for i, n in enumerate(lengths)]
        self.reads = [0] * len(lengths)

    def read(self, i):
        self.reads[i] += 1
        return self.sounds[i]


def get(recent, files, i):
    return recent.get(str(i), lambda: files.read(i))


def test_whatever_is_asked_for_in_whatever_order_is_what_reading_gives():
    generator = np.random.default_rng(0)
    files, recent = Files(generator.integers(1, 1_500, 60)), RecentSounds(BYTES)
    for i in (np.arange(2_000) // 20 + generator.integers(0, 12, 2_000)) % 60:
        sound = get(recent, files, i)
        np.testing.assert_array_equal(sound.waveform, files.sounds[i].waveform)
        assert sound.rate_hz == 8_000 + i
    assert sum(files.reads) < 1_000


def test_what_is_used_again_soon_is_read_once_and_what_is_long_ago_again():
    files, recent = Files([900] * 30), RecentSounds(BYTES)
    for i in (0, 1, 0, 1, 0):
        get(recent, files, i)
    assert files.reads[:2] == [1, 1]
    for i in range(2, 30):
        get(recent, files, i)
    get(recent, files, 0)
    assert files.reads[0] == 2


def test_a_long_recording_does_not_drive_out_the_others():
    files, recent = Files([900, 16_000 // LARGEST_SHARE + 1]), RecentSounds(BYTES)
    for i in (0, 1, 1, 0):
        get(recent, files, i)
    assert files.reads == [1, 2]


def test_what_somebody_does_to_samples_nobody_else_hears():
    files, recent = Files([900]), RecentSounds(BYTES)
    get(recent, files, 0).waveform[:] = 7
    get(recent, files, 0).waveform[:] = 8
    files = Files([900])
    np.testing.assert_array_equal(get(recent, files, 0).waveform, np.zeros(900))
    assert files.reads == [0]


@pytest.fixture
def reads(monkeypatch):
    """The paths that a worker decodes from here on, as it would have them."""
    paths = []
    monkeypatch.setattr(pipeline.extract, "_recent", RecentSounds())
    monkeypatch.setattr(pipeline.extract, "read_sound", lambda path: (paths.append(path), read_sound(path))[1])
    return paths


def test_two_streams_of_a_clip_decode_it_once_and_are_what_each_would_be_alone(store, reads, monkeypatch):
    alone, together = [], []
    for stream in plan_extraction(store.snapshot(), [WAVEFORM, spec_for("logmel")]).streams:
        (batch,) = cut_batches(stream)
        together += extract_batch(store.uri, batch)
    assert len(reads) == len(set(reads)) == 5
    for stream in plan_extraction(store.snapshot(), [WAVEFORM, spec_for("logmel")]).streams:
        monkeypatch.setattr(pipeline.extract, "_recent", RecentSounds())
        (batch,) = cut_batches(stream)
        alone += extract_batch(store.uri, batch)
    assert len(reads) == 15
    # A part is named by its content.
    assert [(row.clip_id, row.part_id) for row in together] == [(row.clip_id, row.part_id) for row in alone]


def test_a_file_that_was_changed_or_lost_meanwhile_is_noticed_all_the_same(store, audio, reads):
    first, second = plan_extraction(store.snapshot(), [WAVEFORM, spec_for("logmel")]).streams
    extract_batch(store.uri, next(cut_batches(first)))
    write_sine(audio / "low" / "0.wav", 1_000, 0.4)
    (audio / "low" / "1.wav").unlink()
    rows = extract_batch(store.uri, next(cut_batches(second)))
    assert sorted(row.kind for row in rows if row.status == "failed") == ["changed", "vanished"]
    assert sum(row.status == "ok" for row in rows) == 3
