"""Long recordings in pieces: the same bytes as in one, whatever the extractor."""

import numpy as np
import pytest
import soundfile

import pipeline.extract
from features.extractor import LocalExtractor
from features.registry import STREAMS, load_extractor, spec_for
from pipeline.batches import cut_batches
from pipeline.decode import decode, decode_pieces
from pipeline.extract import extract_batch
from pipeline.pieces import extract_pieces, gather
from pipeline.plan import plan_extraction
from storage_schema import chunks, parts
from storage_schema.errors import ClipError
from storage_schema.spool import Spool, join_rows
from storage_schema.streams import ArraySpec
from tests.pipeline.conftest import WAVEFORM

LOCAL = ("pitch", "timbre", "neural", "waveform", "logmel")


def noise(n_samples, seed=0):
    return np.random.default_rng(seed).normal(0, 0.1, n_samples).astype(np.float32)


def test_all_streams_but_those_of_brought_models_are_local():
    extractors = {name: load_extractor(spec_for(name)) for name, kind in STREAMS.items() if not kind.needs_model}
    assert tuple(name for name, each in extractors.items() if isinstance(each, LocalExtractor)) == LOCAL


@pytest.mark.parametrize("stream", LOCAL)
def test_a_clip_in_pieces_has_the_bytes_of_the_clip_whole(stream):
    extractor = load_extractor(spec_for(stream))
    clip = noise(5 * extractor.spec.grid.sample_rate_hz + 123)
    (whole,) = extractor.extract([clip])
    samples = (clip[first : first + 50_001] for first in range(0, len(clip), 50_001))
    spools, n_samples = gather(extractor, extract_pieces(extractor, samples, piece_s=1.2))
    assert n_samples == len(clip)
    for name, values in whole.items():
        assert spools[name].shape == values.shape
        assert spools[name][:].tobytes() == values.tobytes()


@pytest.mark.parametrize("n_samples", [1, 399, 400, 401, 4_000, 4_001, 8_000])
def test_the_frames_of_any_length_are_all_there(n_samples):
    extractor = load_extractor(WAVEFORM)
    clip = noise(n_samples)
    spools, _ = gather(extractor, extract_pieces(extractor, [clip], piece_s=0.25))
    assert spools["samples"][:].tobytes() == extractor.extract([clip])[0]["samples"].tobytes()


@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 48_000])
def test_decoded_pieces_are_the_samples_decoded_at_once(tmp_path, monkeypatch, rate_hz):
    monkeypatch.setattr("pipeline.decode._BLOCK_SAMPLES", 30_000)
    soundfile.write(tmp_path / "a.wav", np.stack([noise(100_007), noise(100_007, 1)], axis=1), 44_100)
    pieces = list(decode_pieces(tmp_path / "a.wav", rate_hz))
    assert len(pieces) > 3
    np.testing.assert_array_equal(np.concatenate(pieces), decode(tmp_path / "a.wav", rate_hz))


def test_a_bad_sample_far_into_a_long_file_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.decode._BLOCK_SAMPLES", 1_000)
    samples = noise(20_000)
    samples[17_000] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, 16_000, subtype="FLOAT")
    with pytest.raises(ClipError, match="NaN or infinity in 1"):
        list(decode_pieces(tmp_path / "a.wav", 16_000))


def test_a_long_recording_becomes_the_same_part_as_if_it_were_short(store, audio, monkeypatch):
    (stream,) = plan_extraction(store.snapshot(), [WAVEFORM]).streams
    (batch,) = cut_batches(stream)
    at_once = extract_batch(store.uri, batch)
    monkeypatch.setattr(pipeline.extract, "LONG_S", 0.0)
    in_pieces = extract_batch(store.uri, batch)
    assert {row.part_id for row in in_pieces} == {row.part_id for row in at_once}
    assert [row.n_rows for row in in_pieces] == [row.n_rows for row in at_once]


def test_what_goes_wrong_in_a_long_recording_is_a_receipt(store, audio, monkeypatch):
    def fail(_self, _waveforms):
        raise ValueError("no")

    (stream,) = plan_extraction(store.snapshot(), [WAVEFORM]).streams
    (batch,) = cut_batches(stream)
    monkeypatch.setattr(pipeline.extract, "LONG_S", 0.0)
    monkeypatch.setattr("features.waveform.WaveformFrames.extract", fail)
    (audio / "low" / "0.wav").unlink()
    receipts = extract_batch(store.uri, batch)
    assert {(row.stage, row.kind) for row in receipts} == {("decode", "vanished"), ("extract", "extractor")}
    assert len(receipts) == len(batch.clips)


def test_an_array_of_several_shards_reads_like_one_of_one(store, audio, monkeypatch):
    monkeypatch.setattr(chunks, "CHUNK_FRAMES", 2)
    monkeypatch.setattr(chunks, "SHARD_FRAMES", 4)
    (stream,) = plan_extraction(store.snapshot(), [WAVEFORM]).streams
    (batch,) = cut_batches(stream)
    receipts = extract_batch(store.uri, batch)
    store.commit(receipts)
    reader = store.snapshot().stream("waveform")
    extractor = load_extractor(WAVEFORM)
    for clip in batch.clips:
        expected = extractor.extract([decode(clip.paths[0], 16_000)])[0]["samples"]
        np.testing.assert_array_equal(reader.read(clip.clip_id)["samples"], expected)
    part = parts.Part(store.files, WAVEFORM, receipts[0].part_id)
    assert parts.check_part(part) is None
    shards = sorted((store.files.path(part.key) / "samples").rglob("c/*/*"))
    assert len(shards) > 2
    shards[1].unlink()
    assert "missing" in parts.check_part(part)


def test_a_spool_reads_back_what_was_appended():
    frames = np.arange(30, dtype=np.int16).reshape(10, 3)
    spool = Spool(ArraySpec("samples", "int16", "1", "samples", (3,)))
    for first in range(0, 10, 4):
        spool.append(frames[first : first + 4])
    assert spool.shape == (10, 3)
    for first, stop in ((0, 10), (3, 7), (9, 12), (5, 5)):
        np.testing.assert_array_equal(spool[first:stop], frames[first:stop])
    np.testing.assert_array_equal(join_rows([frames, spool, frames], 8, 23), np.concatenate([frames] * 3)[8:23])
