"""The contract suite that every extractor must pass: `check_extractor`, and each of its checks by itself.

A check takes a working extractor and raises ContractError with a sentence where a promise of `features.extractor` does
not hold. Nothing here knows a particular stream; signals are made from the extractor's own grid, and the hard ones are
those that recordings do contain: silence, one sample, full scale, a constant.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from features.extractor import Extractor, Waveform
from features.registry import spec_for
from storage_schema.errors import ContractError
from storage_schema.streams import Arrays, StreamSpec


def hard_signals(spec: StreamSpec) -> dict[str, Waveform]:
    """Short clips at the stream's own rate that break careless extractors, by what they are."""
    rate_hz, hop = spec.grid.sample_rate_hz, spec.grid.hop
    time_s = np.arange(rate_hz // 2) / rate_hz
    noise = np.random.default_rng(20).normal(0, 0.1, len(time_s))
    click = np.zeros(len(time_s))
    click[len(click) // 3] = 1.0
    signals: Mapping[str, NDArray[np.floating]] = {
        "silence": np.zeros(len(time_s)),
        "one sample": np.array([0.5]),
        "one sample of silence": np.zeros(1),
        "one sample less than a hop": noise[: hop - 1] if hop > 1 else noise[:1],
        "one hop": noise[:hop],
        "one sample more than a hop": noise[: hop + 1],
        "a full-scale square": np.sign(np.sin(2 * np.pi * 100 * time_s) + 1e-9),
        "a constant": np.full(len(time_s), 0.3),
        "a sine": 0.5 * np.sin(2 * np.pi * 440 * time_s),
        "a click": click,
        "noise": noise,
        "noise near the smallest float32": noise * 1e-38,
        "noise beyond full scale": 20 * noise,
    }
    return {name: signal.astype(np.float32) for name, signal in signals.items()}


def check_extractor(extractor: Extractor) -> None:
    """Every check below, on the hard signals. Raises ContractError at the first that fails."""
    signals = hard_signals(extractor.spec)
    check_spec(extractor.spec)
    check_shapes(extractor, signals)
    check_determinism(extractor, signals)
    check_results_are_independent(extractor, signals)
    check_neighbours(extractor, signals)
    check_inputs_are_left_alone(extractor, signals)
    if extractor.extract([]):
        raise ContractError(f"stream {extractor.spec.stream}: arrays came out of no waveforms")


def check_spec(spec: StreamSpec) -> None:
    """The spec survives JSON, and the registry makes the same one from its parameters."""
    if StreamSpec.from_json(spec.to_json()).fingerprint != spec.fingerprint:
        raise ContractError(f"stream {spec.stream}: the spec has another fingerprint after a round trip through JSON")
    if spec_for(spec.stream, spec.parameters).fingerprint != spec.fingerprint:
        raise ContractError(f"stream {spec.stream}: the registry makes another spec from {dict(spec.parameters)}")
    if any(not (array.unit and array.description) for array in spec.arrays):
        raise ContractError(f"stream {spec.stream}: an array has no unit or no description")


def check_shapes(extractor: Extractor, signals: Mapping[str, Waveform]) -> None:
    """Every signal gives what the spec promises for its length: names, shapes, dtypes, finite numbers."""
    for name, signal in signals.items():
        try:
            (arrays,) = extractor.extract([signal])
            extractor.spec.check(arrays, len(signal))
        except Exception as error:
            raise ContractError(f"stream {extractor.spec.stream}, given {name}: {error}") from error


def check_determinism(extractor: Extractor, signals: Mapping[str, Waveform]) -> None:
    """The same batch gives the same bytes twice."""
    batch = list(signals.values())
    for name, once, again in zip(signals, extractor.extract(batch), extractor.extract(batch), strict=True):
        _require_equal(extractor.spec, once, again, f"given {name} twice")


def check_neighbours(extractor: Extractor, signals: Mapping[str, Waveform]) -> None:
    """A clip gives the same bytes alone, among others, and among the same in reverse order."""
    batch = list(signals.values())
    among = extractor.extract(batch)
    reversed_among = extractor.extract(batch[::-1])[::-1]
    for name, signal, first, second in zip(signals, batch, among, reversed_among, strict=True):
        (alone,) = extractor.extract([signal])
        _require_equal(extractor.spec, alone, first, f"given {name} alone and in a batch")
        _require_equal(extractor.spec, alone, second, f"given {name} alone and in a reversed batch")


def check_inputs_are_left_alone(extractor: Extractor, signals: Mapping[str, Waveform]) -> None:
    """Waveforms that cannot be written to are taken, and come out as they went in."""
    copies = {name: signal.copy() for name, signal in signals.items()}
    for copy in copies.values():
        copy.flags.writeable = False
    try:
        extractor.extract(list(copies.values()))
    except ValueError as error:  # what NumPy raises on writing
        raise ContractError(f"stream {extractor.spec.stream}: it writes to a waveform: {error}") from error
    for name, signal in signals.items():
        if not np.array_equal(copies[name], signal):
            raise ContractError(f"stream {extractor.spec.stream}: it changed the waveform of {name}")


def check_results_are_independent(extractor: Extractor, signals: Mapping[str, Waveform]) -> None:
    """Results are not scratch memory: a second call leaves those of the first as they were."""
    batch = list(signals.values())
    first = extractor.extract(batch)
    kept = [{name: values.copy() for name, values in arrays.items()} for arrays in first]
    extractor.extract(batch[::-1])
    for name, before, after in zip(signals, kept, first, strict=True):
        _require_equal(extractor.spec, before, after, f"given {name}, then other clips")


def check_prefix(extractor: Extractor, waveform: Waveform, n_samples: int, n_unsettled: int) -> None:
    """The first `n_samples` of a long clip give the frames that the whole clip begins with, to the byte.

    That is what lets a long clip be worked through in blocks. The last `n_unsettled` frames are left out of the
    comparison: they reach beyond the cut.
    """
    whole, beginning = extractor.extract([waveform])[0], extractor.extract([waveform[:n_samples]])[0]
    n_frames = extractor.spec.grid.n_frames(n_samples) - n_unsettled
    if n_frames < 1:
        raise ContractError(f"nothing to compare: {n_samples} samples have no more than {n_unsettled} frames")
    _require_equal(
        extractor.spec, _first(whole, n_frames), _first(beginning, n_frames), f"given {n_samples} samples and more"
    )


def _first(arrays: Arrays, n_frames: int) -> Arrays:
    return {name: values[:n_frames] for name, values in arrays.items()}


def _require_equal(spec: StreamSpec, one: Arrays, other: Arrays, situation: str) -> None:
    names: Sequence[str] = [array.name for array in spec.arrays]
    for name in names:
        if one[name].tobytes() != other[name].tobytes():
            n_differing = int((one[name] != other[name]).sum()) if one[name].shape == other[name].shape else "all"
            raise ContractError(
                f"stream {spec.stream}, array {name}: other bytes {situation}; {n_differing} of {one[name].size} differ"
            )
