import numpy as np
import pytest

from storage_schema.streams import ArraySpec, StreamSpec
from storage_schema.timebase import FrameGrid
from tests.training.synthetic import BLOCKS, CENTRED, PITCH, WAVEFORM, noise
from training.inputs import fit_normalisation, gather_inputs, make_inputs, n_channels
from training.windows import StreamFrames

SPECS = [PITCH, CENTRED, BLOCKS, WAVEFORM]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.stream)
def test_inputs_have_the_channels_promised_whatever_the_leading_axes(spec: StreamSpec) -> None:
    frames = StreamFrames.of_clip(spec, noise(spec, 5.0, np.random.default_rng(0)))
    rows = np.array([[0, 1, 2], [2, 1, 0]])
    inputs = gather_inputs(frames, rows)
    assert inputs.shape == (2, 3, n_channels(spec))
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs[0, 0], gather_inputs(frames, np.array([0]))[0])


def test_pitch_is_salience_octaves_from_a4_and_periodicity() -> None:
    salience = np.zeros((1, 360), np.uint8)
    salience[0, 7] = 255
    inputs = make_inputs(
        PITCH,
        {"salience": salience, "f0_hz": np.array([880.0], np.float32), "periodicity": np.array([0.5], np.float32)},
    )
    assert inputs[0, 7] == 1
    assert inputs[0, 360:].tolist() == [0.5, 0.5]
    assert inputs.sum() == 2


def test_full_scale_samples_become_one() -> None:
    samples = np.full((1, 400), -32_767, np.int16)
    assert (make_inputs(WAVEFORM, {"samples": samples}) == -1).all()


def test_any_other_stream_is_its_arrays_side_by_side_times_their_scales() -> None:
    spec = StreamSpec(
        "own",
        "test",
        1,
        FrameGrid(16_000, 400),
        (ArraySpec("a", "uint8", "1", "", (2, 2), 0.5), ArraySpec("b", "float16", "1", "")),
    )
    inputs = make_inputs(spec, {"a": np.array([[[1, 2], [3, 4]]], np.uint8), "b": np.array([9], np.float16)})
    assert inputs.tolist() == [[0.5, 1, 1.5, 2, 9]]


def test_statistics_are_those_of_the_frames_passed_and_no_others() -> None:
    values = np.array([[1.0], [3.0], [1000.0]], np.float32)
    spec = StreamSpec("own", "test", 1, FrameGrid(16_000, 400), (ArraySpec("x", "float32", "1", "", (1,)),))
    frames = StreamFrames.end_to_end(spec, np.array([2, 1]), {"x": values})
    normalisation = fit_normalisation([(frames, np.array([0]))])
    assert normalisation.mean.tolist() == [2]
    assert normalisation.std.tolist() == [1]


def test_a_channel_that_never_moves_is_left_at_its_size() -> None:
    frames = StreamFrames.of_clip(CENTRED, {"descriptors": np.full((9, 6), 3.0, np.float32)})
    assert fit_normalisation([(frames, np.array([0]))]).std.tolist() == [1.0] * 6


def test_a_waveform_keeps_its_shape_one_scale_for_every_position() -> None:
    frames = StreamFrames.of_clip(WAVEFORM, noise(WAVEFORM, 1.0, np.random.default_rng(0)))
    normalisation = fit_normalisation([(frames, np.array([0]))])
    values = frames.arrays["samples"].astype(np.float64) / 32_767
    assert set(normalisation.mean.tolist()) == {0.0}
    np.testing.assert_allclose(normalisation.std, np.sqrt(np.mean(values**2)), rtol=1e-5)
