"""One batch, in this process: what is wrong with one clip is a receipt, and never costs another clip."""

import os

import numpy as np
import soundfile

import pipeline.extract
from pipeline.batches import cut_batches
from pipeline.extract import extract_batch
from pipeline.ingest import ingest
from pipeline.plan import plan_extraction
from storage_schema.parts import Part, PartEntry, read_rows
from storage_schema.streams import StreamSpec
from tests.pipeline.conftest import WAVEFORM


def receipts_of(store):
    (stream,) = plan_extraction(store.snapshot(), [WAVEFORM]).streams
    (batch,) = cut_batches(stream)
    paths = {clip.clip_id: os.path.basename(clip.paths[0]) for clip in batch.clips}
    return {paths[row.clip_id]: row for row in extract_batch(store.uri, batch)}


def test_receipts_lead_to_the_samples(store, audio):
    receipts = receipts_of(store)
    assert sorted(receipts) == [f"{i}.wav" for i in range(5)]
    store.commit(receipts.values())
    stream = store.snapshot().stream("waveform")
    row = receipts["1.wav"]
    samples = stream.read(row.clip_id)["samples"]
    assert samples.shape == (row.n_rows, 400) == (6400 // 400, 400)
    expected, _ = soundfile.read(audio / "low" / "1.wav")
    np.testing.assert_allclose(samples.reshape(-1) / 32767, expected, atol=2 / 32767)


def test_each_way_to_fail_is_a_receipt_with_its_kind(store, audio):
    os.remove(audio / "low" / "0.wav")
    (audio / "low" / "empty.wav").touch()
    (audio / "low" / "text.wav").write_text("this is no sound")
    soundfile.write(audio / "low" / "nan.wav", np.array([0.0, np.nan, 0.0]), 16_000, subtype="FLOAT")
    soundfile.write(audio / "low" / "none.wav", np.zeros(0), 16_000)
    ingest(store, "folder", audio)
    soundfile.write(audio / "low" / "1.wav", np.ones(77) / 2, 16_000)  # other bytes than were ingested
    receipts = receipts_of(store)
    kinds = {name: row.kind for name, row in receipts.items() if row.status == "failed"}
    assert kinds == {
        "0.wav": "vanished",
        "1.wav": "changed",
        "empty.wav": "empty",
        "text.wav": "undecodable",
        "nan.wav": "not_finite",
        "none.wav": "empty",
    }
    for name, row in receipts.items():
        if row.status == "failed":
            assert name in row.message
            assert row.part_id is None
        else:
            assert row.n_rows >= 1
    assert sum(row.status == "ok" for row in receipts.values()) == 3


def test_second_path_of_the_same_bytes_serves_where_the_first_vanished(store, audio):
    (audio / "zzz.wav").write_bytes((audio / "low" / "0.wav").read_bytes())
    ingest(store, "folder", audio)
    os.remove(audio / "low" / "0.wav")
    assert receipts_of(store)["0.wav"].status == "ok"


def samples_of(store, row):
    """The bytes of a clip whose receipt nobody has committed."""
    part = Part(store.files, WAVEFORM, row.part_id)
    (arrays,) = read_rows(part, ["samples"], [PartEntry(row.clip_id, row.first_row, row.n_rows)])
    return arrays["samples"].tobytes()


class Fussy:
    """An extractor that raises on loud clips and breaks its promise on quiet ones."""

    spec: StreamSpec = WAVEFORM

    def extract(self, waveforms):
        if any(len(waveform) == 6400 for waveform in waveforms):
            raise RuntimeError("I do not like 0.4 s")
        n_frames = [self.spec.grid.n_frames(len(w)) - (len(w) == 8000) for w in waveforms]
        return [{"samples": np.zeros((n, 400), np.int16)} for n in n_frames]


def test_extractor_that_fails_on_one_clip_costs_that_clip_only(store, monkeypatch):
    monkeypatch.setattr(pipeline.extract, "_extractor", lambda _spec: Fussy())
    receipts = receipts_of(store)
    failed = {name: row.message for name, row in receipts.items() if row.status == "failed"}
    assert set(failed) == {"1.wav", "2.wav"}
    assert "RuntimeError: I do not like 0.4 s" in failed["1.wav"]
    assert "promises" in failed["2.wav"]
    assert all(name in message for name, message in failed.items())


def test_batch_in_which_everything_fails_writes_no_part(store, audio):
    for path in audio.rglob("*.wav"):
        path.unlink()
    assert {row.status for row in receipts_of(store).values()} == {"failed"}
    assert store.files.entries("streams") == []


def test_batch_cut_otherwise_gives_the_same_numbers(store):
    (stream,) = plan_extraction(store.snapshot(), [WAVEFORM]).streams
    by_size = []
    for batch_s in (1e9, 0.1):
        rows = [row for batch in cut_batches(stream, batch_s) for row in extract_batch(store.uri, batch)]
        parts = {row.clip_id: row for row in rows}
        by_size.append({clip_id: samples_of(store, row) for clip_id, row in parts.items()})
    assert len(by_size[0]) == 5
    assert by_size[0] == by_size[1]
    assert store.snapshot().coverage() == []
