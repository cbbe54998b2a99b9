"""Where the time of each kernel goes now, as shares of it: what to look at for the next factor of two."""

import cProfile
import pstats
import time
from collections import Counter

from torch.profiler import ProfilerActivity, profile

from benchmarks import material
from benchmarks.measure import Row
from features.registry import load_extractor, spec_for

_N_CLIPS = 4
_OPERATORS = {
    "products": ("bmm", "baddbmm", "addmm_", "addmm", "mm", "mkldnn_convolution"),
    "transforms": ("_fft_r2c", "_fft_c2r", "_fft_c2c"),
    "moving": ("copy_", "cat", "fill_", "clone", "_to_copy", "contiguous"),
    "comparing, adding": ("maximum", "relu_", "clamp_min_", "clamp_", "add", "add_", "max_pool2d_with_indices", "amax"),
}


def where_row() -> Row:
    """Shares of CPU time by kind of work."""
    figures = {
        "CREPE full": _by_operator("pitch", {"model": "full"}),
        "CREPE tiny": _by_operator("pitch", {}),
        "aiSFX": _by_operator("neural", {}),
        "timbre": _of_timbre(),
    }
    return Row("where", f"shares of the time of each extractor, {_N_CLIPS} ESC-10 clips", "none", figures=figures)


def _by_operator(stream: str, parameters: dict[str, str]) -> dict[str, float]:
    spec = spec_for(stream, parameters)
    extractor = load_extractor(spec)
    clips = [clip[: 2 * spec.grid.sample_rate_hz] for clip in material.waveforms(_N_CLIPS, spec.grid.sample_rate_hz)]
    extractor.extract(clips)
    started = time.thread_time()
    extractor.extract(clips)
    total_s = time.thread_time() - started
    with profile(activities=[ProfilerActivity.CPU]) as found:
        extractor.extract(clips)
    spent: Counter[str] = Counter()
    kinds = {f"aten::{name}": kind for kind, names in _OPERATORS.items() for name in names}
    for event in found.key_averages():
        spent[kinds.get(event.key, "the rest of the network")] += event.self_cpu_time_total / 1e6
    spent["around the network"] = max(total_s - spent.total(), 0.0)
    return _shares(spent)


def _of_timbre() -> dict[str, float]:
    spec = spec_for("timbre")
    extractor = load_extractor(spec)
    clips = material.waveforms(_N_CLIPS, spec.grid.sample_rate_hz)
    extractor.extract(clips)
    found = cProfile.Profile(time.thread_time)
    found.runcall(extractor.extract, clips)
    spent: Counter[str] = Counter()
    for (file, _, name), (_, _, own_s, _, _) in pstats.Stats(found).stats.items():  # type: ignore[attr-defined]
        if "__compute__" in name:
            spent["Essentia's algorithms"] += own_s
        elif file.endswith(("statistics.py", "cepstra.py")) or "fft" in file or "numpy" in name or "numpy" in file:
            spent["sums over all frames"] += own_s
        else:
            spent["Python around them"] += own_s
    return _shares(spent)


def _shares(spent: Counter[str]) -> dict[str, float]:
    return {kind: round(seconds / spent.total(), 3) for kind, seconds in spent.most_common()}
