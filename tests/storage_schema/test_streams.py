"""A spec says what is stored, round-trips, and refuses arrays that are something else."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from storage_schema.errors import ClipError, ContractError, InputError
from storage_schema.streams import ArraySpec, Channel, StreamSpec
from storage_schema.timebase import FrameGrid
from tests.storage_schema.conftest import TOY


def test_spec_round_trips_through_json():
    assert StreamSpec.from_json(TOY.to_json()) == TOY
    assert StreamSpec.from_json(TOY.to_json()).fingerprint == TOY.fingerprint


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"arrays": 3}', TOY.to_json().replace("hop", "hopp"), TOY.to_json().replace("[2]", "[3]")],
)
def test_what_is_no_spec_is_refused(text):
    with pytest.raises(InputError, match="no stream spec"):
        StreamSpec.from_json(text)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"extractor": "other"},
        {"parameters": {"hop": 160}},
        {"weights": {"tiny": "ab"}},
        {"grid": FrameGrid(16_000, 160)},
        {"downmix": "left"},
        {"resampler": "soxr HQ"},
        {"arrays": TOY.arrays[:1]},
    ],
)
def test_everything_that_changes_numbers_changes_the_fingerprint(change):
    assert replace(TOY, **change).fingerprint != TOY.fingerprint


def test_words_do_not_change_the_fingerprint():
    described = tuple(replace(array, description="said better", unit="other") for array in TOY.arrays)
    assert replace(TOY, arrays=described).fingerprint == TOY.fingerprint


def test_arrays_that_keep_the_promise_pass():
    TOY.check({"level": np.zeros((3, 2), np.float32), "salience": np.zeros(3, np.uint8)}, 1199)


@pytest.mark.parametrize(
    ("level", "words"),
    [
        (np.zeros((4, 2), np.float32), r"float32 \(4, 2\)"),
        (np.zeros((3, 2)), "float64"),
        (np.full((3, 2), np.nan, np.float32), "NaN or infinity"),
    ],
)
def test_arrays_that_break_the_promise_are_named(level, words):
    with pytest.raises(ContractError, match=words):
        TOY.check({"level": level, "salience": np.zeros(3, np.uint8)}, 1199)


def test_missing_array_is_named():
    with pytest.raises(ContractError, match="do not match"):
        TOY.check({"level": np.zeros((3, 2), np.float32)}, 1199)


def test_channels_that_do_not_fit_their_shape_are_refused():
    with pytest.raises(ContractError, match="1 channels named"):
        ArraySpec("x", "float32", "1", "x", (2,), channels=(Channel("a", "1"),))


def test_unknown_array_names_those_there_are():
    with pytest.raises(InputError, match="level, salience"):
        TOY.array("pitch")
    assert json.loads(TOY.to_json())["stream"] == "toy"


def test_clip_error_survives_the_way_back_from_a_worker():
    error = pickle.loads(pickle.dumps(ClipError("empty", "a.wav holds no sample")))
    assert (error.kind, str(error)) == ("empty", "a.wav holds no sample")
