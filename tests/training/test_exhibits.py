"""What a report shows beside figures: computed from the store alone, held to other routes to the same answer."""

import io
import struct
import zlib
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from storage_schema.errors import StoreError
from storage_schema.layout import run_key
from tests.training.showcase import tone
from tests.training.synthetic import BLOCKS, CENTRED, PITCH, WAVEFORM, make_store
from training.attribution import Attribution
from training.exhibits import make_exhibits
from training.exhibits.embedding_map import align, draw_clips, join_folds, lay_out, principal_components
from training.exhibits.judged import Judged, read_judged
from training.exhibits.mistakes import worst_mistakes
from training.exhibits.shares import summarise
from training.exhibits.sound import N_ROWS, grey_png, make_contour, make_sound, spectrogram
from training.report import render_report, write_report
from training.report.exhibits import contour_lines, height_of, shorten
from training.run import read_result, train


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Three labels that timbre and neural tell apart with some mistakes; pitch and waveform are noise."""
    return make_store(
        tmp_path_factory.mktemp("hard") / "store", [(PITCH, 0.0), (CENTRED, 0.6), (BLOCKS, 1.8), (WAVEFORM, 0.0)]
    )


@pytest.fixture(scope="module")
def result(store, recipe):
    return train(store, recipe, device="cpu", run_id="hard")


@pytest.fixture(scope="module")
def shown(store, result):
    return make_exhibits(store, result)


def test_every_test_clip_is_on_the_map_with_what_was_heard_in_it(shown, result):
    assert len(shown.map.points) == result.n_test == shown.map.n_tested
    assert all(0 <= value <= 1 for point in shown.map.points for value in (point.x, point.y))
    fusion = next(model for model in result.models if model.name == "fusion")
    right = sum(point.is_right for point in shown.map.points)
    assert right / result.n_test == pytest.approx(fusion.metrics["accuracy"].value)
    assert shown.n_mistaken == result.n_test - right
    assert shown.notes == ()


def test_clips_of_one_class_lie_together_although_every_fold_has_a_space_of_its_own(shown):
    where = np.array([(point.x, point.y) for point in shown.map.points])
    truth = np.array([point.truth[0] for point in shown.map.points])
    distance = np.linalg.norm(where[:, None] - where[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    neighbours = truth[distance.argmin(axis=1)]
    assert (neighbours == truth).mean() > 0.6  # a third by chance


def test_the_shares_of_the_true_class_sum_to_its_probability(shown, store, result):
    judged = read_judged(store.files.path(run_key(result.run_id)), "fusion", result.labels)
    assert shown.shares.overall.total == pytest.approx(judged.probabilities[judged.is_true].mean(), abs=1e-5)
    for i, row in enumerate(shown.shares.classes):
        assert row.total == pytest.approx(judged.probabilities[judged.is_true[:, i], i].mean(), abs=1e-5)
    added = dict(zip(shown.shares.streams, shown.shares.overall.values, strict=True))
    assert added["timbre"] + added["neural"] > 0.1
    assert abs(added["pitch"] + added["waveform"]) < 0.1  # which say nothing


def test_a_mistake_names_what_was_heard_and_carries_sound_and_contour(shown, store, result):
    judged = read_judged(store.files.path(run_key(result.run_id)), "fusion", result.labels)
    assert shown.mistakes
    for mistake in shown.mistakes:
        place = judged.uris.index(mistake.uri)
        assert mistake.heard.label not in mistake.truth
        assert mistake.heard.probability == judged.probabilities[place].max()
        assert mistake.heard.base + sum(mistake.heard.values.values()) == pytest.approx(
            mistake.heard.probability, abs=1e-5
        )
        assert mistake.missed.label == mistake.truth[0]
        assert mistake.sound.length_s == pytest.approx(1.0)
        assert len(mistake.contour.times_s) > 5
    confidence = [mistake.heard.probability for mistake in shown.mistakes]
    assert confidence == sorted(confidence, reverse=True)


def test_the_same_run_gives_the_same_page(shown, store, result):
    assert render_report(result, make_exhibits(store, result)) == render_report(result, shown)


def test_a_run_whose_features_are_gone_keeps_its_page_and_says_what_is_missing(store, result):
    lost = result.model_copy(update={"provenance": result.provenance.model_copy(update={"snapshot": "0-0"})})
    found = make_exhibits(store, lost)
    assert (found.map, found.shares, found.mistakes) == (None, None, ())
    assert "nothing of stream" in found.notes[0]
    assert "nothing of stream" in render_report(lost, found)


def test_a_run_that_is_not_in_the_store_keeps_its_page(store, result):
    assert "are left out" in make_exhibits(store, result.model_copy(update={"run_id": "another"})).notes[0]


def test_the_page_that_is_written_shows_the_exhibits(store, result):
    write_report(store, result)
    page = store.files.path(f"{run_key(result.run_id)}/report.html").read_text(encoding="utf-8")
    assert "data:audio/flac;base64," in page
    assert len(page) < 10_000_000
    assert read_result(store.files.path(run_key(result.run_id))) == result


@pytest.mark.parametrize("damage", ["torn", "columns", "labels", "probabilities"])
def test_predictions_that_are_not_as_written_are_refused(tmp_path, store, result, damage):
    table = pq.read_table(store.files.path(run_key(result.run_id)) / "predictions.parquet")
    place = tmp_path / "predictions.parquet"
    if damage == "columns":
        table = table.drop_columns("fold")
    elif damage == "labels":
        table = table.replace_schema_metadata({"labels": '["a"]'})
    elif damage == "probabilities":
        short = pa.array([[0.5]] * table.num_rows, pa.list_(pa.float32()))
        table = table.set_column(table.schema.get_field_index("probabilities"), "probabilities", short)
    pq.write_table(table, place)
    if damage == "torn":
        place.write_bytes(place.read_bytes()[:-20])
    with pytest.raises(StoreError, match=r"predictions\.parquet does not hold"):
        read_judged(tmp_path, "fusion", result.labels)


def test_folds_whose_spaces_are_turned_are_laid_over_each_other():
    generator = np.random.default_rng(0)
    truth = generator.standard_normal((60, 8)) * np.arange(1, 9)
    turn, _ = np.linalg.qr(generator.standard_normal((8, 8)))
    folds = np.repeat([1, 2], 30)
    anchors = np.arange(0, 60, 2)
    other = 3 * truth @ turn + 5
    own = {1: truth[:30], 2: other[30:]}
    joined = join_folds(folds, own, anchors, {1: truth[anchors], 2: other[anchors]})
    assert np.allclose(joined, truth, atol=1e-9)
    assert np.allclose(align(other, other, truth), truth, atol=1e-9)


def test_a_layout_stays_in_its_frame_and_is_the_same_twice():
    generator = np.random.default_rng(1)
    values = generator.standard_normal((40, 50))
    plane, method = lay_out(values)
    assert method == "t-SNE"
    assert np.array_equal(plane, lay_out(values)[0])
    assert plane.min() >= 0
    assert plane.max() <= 1
    assert np.ptp(plane, axis=0).max() == pytest.approx(1)
    for few in (np.zeros((30, 4)), np.ones((1, 4)), generator.standard_normal((3, 1))):
        found, _ = lay_out(few)
        assert np.isfinite(found).all()


def test_principal_components_are_those_of_the_covariance():
    values = np.random.default_rng(2).standard_normal((50, 6)) * [5, 4, 3, 2, 1, 0.5]
    wanted = np.sort(np.linalg.eigvalsh(np.cov(values.T)))[::-1][:3]
    assert np.allclose(principal_components(values, 3).var(axis=0, ddof=1), wanted)


def test_clips_are_drawn_evenly_and_the_same_for_a_seed():
    assert draw_clips(5, 0, 10).tolist() == [0, 1, 2, 3, 4]
    drawn = draw_clips(1_000, 3, 100)
    assert len(set(drawn.tolist())) == 100
    assert np.array_equal(drawn, draw_clips(1_000, 3, 100))
    assert 300 < drawn.mean() < 700


def test_the_worst_mistake_is_the_surest_wrong_label():
    is_true = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]], bool)
    said = np.array([[0.9, 0.1, 0], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.4, 0.4]], np.float32)
    judged = Judged(tuple("abcd"), tuple("abcd"), np.ones(4, np.int64), is_true, said)
    assert worst_mistakes(judged, "single_label") == [(2, 1), (1, 0), (3, 1)]
    assert worst_mistakes(judged, "single_label", 1) == [(2, 1)]
    several = replace(judged, is_true=np.array([[1, 0, 0], [0, 1, 0], [0, 1, 1], [1, 0, 0]], bool))
    assert worst_mistakes(several, "multi_label") == [(1, 0)]


def test_shares_of_several_labels_count_every_true_pair():
    is_true = np.array([[1, 1], [0, 1]], bool)
    values = np.arange(8, dtype=float).reshape(2, 2, 2)  # clips, streams, labels
    found = summarise(Attribution(("a", "b"), np.zeros((2, 2)), values), is_true, ("x", "y"))
    assert found.overall.n_clips == 3
    assert found.overall.values == ((0 + 1 + 5) / 3, (2 + 3 + 7) / 3)
    assert [row.values for row in found.classes] == [(0, 2), (3, 5)]
    assert summarise(Attribution(("a",), np.zeros((1, 1)), np.zeros((1, 1, 1))), np.zeros((1, 1), bool), ("x",)) is None


def test_a_tone_is_a_dark_line_at_its_own_frequency():
    samples = tone(440, 5.0)
    picture = spectrogram(samples.astype(np.float32) / 32_767, 16_000)
    sound = make_sound(WAVEFORM, {"samples": samples.reshape(-1, 400)}, 5.0)
    assert picture.shape == (N_ROWS, 501)
    darkest = picture[:, 100:400].astype(float).mean(axis=1).argmin()
    assert abs(darkest - height_of(440, sound) / 100 * (N_ROWS - 1)) <= 1.5
    assert picture[10, 250] == 255
    assert spectrogram(np.zeros(16_000, np.float32), 16_000).min() == 255


def test_a_png_holds_the_very_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (7, 5)).astype(np.uint8)
    content = grey_png(pixels)
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    found, at = {}, 8
    while at < len(content):
        length, kind = struct.unpack(">I4s", content[at : at + 8])
        body = content[at + 8 : at + 8 + length]
        assert struct.unpack(">I", content[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        found[kind], at = body, at + 12 + length
    assert list(found) == [b"IHDR", b"IDAT", b"IEND"]
    assert struct.unpack(">IIBBBBB", found[b"IHDR"]) == (5, 7, 8, 0, 0, 0, 0)
    lines = np.frombuffer(zlib.decompress(found[b"IDAT"]), np.uint8).reshape(7, 6)
    assert np.array_equal(lines[:, 1:], pixels)


def test_a_long_clip_is_heard_at_its_loudest_and_bit_for_bit():
    samples = np.zeros(16_000 * 12, np.int16)
    samples[16_000 * 6 : 16_000 * 10] = tone(300, 4.0)
    sound = make_sound(WAVEFORM, {"samples": samples.reshape(-1, 400)}, 11.99)
    assert 5.0 <= sound.start_s <= 6.0
    assert (sound.length_s, sound.clip_s) == (5.0, 11.99)
    heard, rate_hz = soundfile.read(io.BytesIO(sound.audio_flac), dtype="int16")
    start = round(sound.start_s * 16_000)
    assert rate_hz == 16_000
    assert np.array_equal(heard, samples[start : start + 5 * 16_000])


def test_a_contour_follows_the_pitch_and_breaks_where_there_is_none():
    f0_hz = np.full(201, 440, np.float32)
    sure = np.full(201, 0.9, np.float32)
    sure[50:80] = 0.1
    f0_hz[120] = np.nan
    contour = make_contour(PITCH, {"f0_hz": f0_hz, "periodicity": sure})
    assert len(contour.times_s) == 201 - 30 - 1
    sound = make_sound(WAVEFORM, {"samples": tone(440, 5.0).reshape(-1, 400)}, 5.0)
    lines = contour_lines(contour, sound)
    assert len(lines) == 3
    first = [tuple(map(float, point.split(","))) for point in lines[0].points.split()]
    assert first[0][0] == 0
    assert first[-1][0] == pytest.approx(1000 * 49 * 0.025 / 5, abs=0.1)
    assert [y for _, y in first] == pytest.approx([10 * height_of(440, sound)] * len(first), abs=0.1)


def test_a_long_name_keeps_its_end():
    assert shorten("a/b.wav") == "a/b.wav"
    assert shorten("x" * 300 + "end.wav").endswith("end.wav")
    assert len(shorten("x" * 5_000)) < 130
