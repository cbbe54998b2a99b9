"""What the `clap` stream is; reads two small JSON files of the model and imports no heavy library.

Source: Wu et al., "Large-scale contrastive language-audio pretraining", ICASSP 2023, as in transformers' ClapModel.
"""

from features.brought.sources import CONFIG, bundle_of, config_of, preprocessor_of, whole_number
from storage_schema.errors import InputError
from storage_schema.streams import ArraySpec, StreamSpec
from storage_schema.timebase import FrameGrid

VERSION = 1
LONGEST_S = 60


def clap_spec(model: str = "", hop_s: float | None = None) -> StreamSpec:
    """One embedding every `hop_s` seconds, each of the model's own window (10 s) that begins with the frame.

    hop_s: half a window by default. A window that reaches past the clip is filled with silence.
    Raises InputError where there is no such model, or the hop is longer than the window.
    """
    bundle = bundle_of(model, "clap")
    config = config_of(bundle)
    settings, file = preprocessor_of(bundle)
    if config.get("model_type") != "clap":
        raise InputError(
            f"the model {bundle.name} is of the type {config.get('model_type')!r}, where clap was expected"
        )
    where = f"{CONFIG} or {file} of the model {bundle.name}"
    rate_hz = whole_number(
        settings, "sampling_rate", 48_000, 768_000, where
    )  # what is left out is the library's default
    window_s = whole_number(settings, "max_length_s", 10, LONGEST_S, where)
    dim = whole_number(config, "projection_dim", 512, 65_536, where)
    hop_s = window_s / 2 if hop_s is None else hop_s
    if isinstance(hop_s, bool) or not isinstance(hop_s, int | float) or not 0 < hop_s <= window_s:
        raise InputError(f"hop_s of clap is a number of seconds up to the window's {window_s}, not {hop_s!r}")
    return StreamSpec(
        stream="clap",
        extractor="clap",
        version=VERSION,
        grid=FrameGrid.from_seconds(rate_hz, hop_s, "blocks"),
        arrays=(
            ArraySpec(
                name="embedding",
                dtype="float16",
                unit="1",
                description=f"CLAP embedding, of length 1, of the {window_s} s that begin with this block",
                shape=(dim,),
            ),
        ),
        parameters={"model": bundle.name, "hop_s": float(hop_s)},
        weights=bundle.weights,
    )
