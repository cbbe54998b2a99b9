"""Every extractor of the registry passes the contract suite, and the suite catches those that would not."""

import subprocess
import sys

import numpy as np
import pytest

from features.registry import STREAMS, load_extractor, spec_for
from features.testing.contract import check_extractor, check_prefix, hard_signals
from features.waveform import WaveformFrames, waveform_spec
from storage_schema.errors import ContractError

N_UNSETTLED = {"pitch": 2, "timbre": 2, "neural": 2, "waveform": 1, "logmel": 2}
"""How many frames at the end of a clip reach beyond it, or change with what follows."""

WITH_DEFAULTS = [stream for stream, kind in STREAMS.items() if not kind.needs_model]


@pytest.fixture(scope="module", params=WITH_DEFAULTS)
def extractor(request):
    return load_extractor(spec_for(request.param))


def test_every_stream_is_held_to_the_contract():
    assert list(N_UNSETTLED) == WITH_DEFAULTS
    assert len(WITH_DEFAULTS) == 5
    assert set(STREAMS) - set(WITH_DEFAULTS) == {"clap", "hf", "onnx"}  # in test_clap.py, test_hf.py, test_onnx.py


def test_the_extractor_keeps_its_contract(extractor):
    check_extractor(extractor)


@pytest.mark.parametrize(
    ("stream", "parameters"),
    [
        ("pitch", {"hop": 3_000, "decoder": "argmax"}),  # a hop longer than a frame
        ("waveform", {"hop": 1}),
        ("logmel", {"hop": 160, "n_mels": 128}),
    ],
)
def test_the_contract_holds_with_other_parameters_too(stream, parameters):
    check_extractor(load_extractor(spec_for(stream, parameters)))


def test_a_long_clip_begins_with_the_frames_of_its_beginning(extractor):
    rate_hz = extractor.spec.grid.sample_rate_hz
    clip = np.random.default_rng(3).normal(0, 0.1, 8 * rate_hz).astype(np.float32)
    check_prefix(extractor, clip, 5 * rate_hz + 17, N_UNSETTLED[extractor.spec.stream])


def test_specs_are_made_without_the_libraries_that_extract():
    code = (
        f"import sys; from features.registry import spec_for; [spec_for(s) for s in {WITH_DEFAULTS}]; "
        "sys.exit(' '.join({'torch', 'essentia', 'librosa', 'scipy', 'sklearn', 'zarr'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")


class Faulty(WaveformFrames):
    """The waveform extractor with one promise broken."""

    def __init__(self, fault):
        super().__init__(waveform_spec())
        self.fault = fault
        self.n_calls = 0
        self.scratch = np.zeros((len(hard_signals(self.spec)), 20, 400), np.int16)

    def extract(self, waveforms):
        self.n_calls += 1
        found = super().extract(waveforms)
        if self.fault == "one frame too few" and found:
            found[0]["samples"] = found[0]["samples"][:-1]
        if self.fault == "another dtype":
            found = [{"samples": arrays["samples"].astype(np.int32)} for arrays in found]
        if self.fault == "twice differs":
            found = [{"samples": arrays["samples"] + np.int16(self.n_calls % 7)} for arrays in found]
        if self.fault == "neighbours show":
            found = [{"samples": arrays["samples"] + np.int16(len(found))} for arrays in found]
        if self.fault == "input is written to" and waveforms:
            waveforms[0][:] = 0
        if self.fault == "silence raises" and any(not waveform.any() for waveform in waveforms):
            raise ZeroDivisionError
        if self.fault == "scratch is returned":
            for buffer, arrays in zip(self.scratch, found, strict=False):
                buffer[: len(arrays["samples"])] = arrays["samples"]
                arrays["samples"] = buffer[: len(arrays["samples"])]
        return found


FAULTS = {
    "one frame too few": "given silence: .*spec promises",
    "another dtype": "int32",
    "twice differs": "given silence twice",
    "neighbours show": "alone and in a batch",
    "input is written to": "it writes to a waveform",
    "silence raises": "given silence",
    "scratch is returned": "then other clips",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_suite_catches_an_extractor_that_breaks_a_promise(fault):
    with pytest.raises(ContractError, match=FAULTS[fault]):
        check_extractor(Faulty(fault))


def test_the_suite_has_nothing_against_the_same_extractor_without_a_fault():
    check_extractor(Faulty(None))


def test_a_normalisation_over_the_whole_clip_is_caught():
    class Normalised(WaveformFrames):
        def extract(self, waveforms):
            return super().extract([waveform / np.abs(waveform).max() for waveform in waveforms])

    clip = np.linspace(0.1, 1.0, 32_000, dtype=np.float32)
    check_prefix(WaveformFrames(waveform_spec()), clip, 16_000, 1)
    with pytest.raises(ContractError, match="differ"):
        check_prefix(Normalised(waveform_spec()), clip, 16_000, 1)
