"""What the `hf` stream is; reads two small JSON files of the model and imports no heavy library."""

from features.brought.sources import bundle_of, whole_samples
from features.hf.hearing import LONGEST_S, Hearing, hearing_of
from storage_schema.errors import InputError
from storage_schema.streams import ArraySpec, StreamSpec
from storage_schema.timebase import FrameGrid

VERSION = 1

TOKENS_WINDOW_S = 5.0
"""What a model with tokens in time hears at once, by default: enough that little is near an edge."""

POOLED_WINDOW_S = 1.0
"""What a model without hears at once, where it says nothing of its own: a recipe's window."""


def hf_spec(model: str = "", window_s: float | None = None, hop_s: float | None = None) -> StreamSpec:
    """The last hidden states of an audio encoder, as blocks of `hop_s` seconds.

    A model that speaks on a grid of its own (wav2vec 2.0, HuBERT, WavLM, data2vec, UniSpeech, Whisper) hears windows
    of `window_s` that tile the clip, by default 5 s or what it always hears; `hop_s` is a multiple of its own step and
    by default that step: the mean of the vectors of those steps. Any other model hears one window a block, which
    begins with the block, by default half a window apart; its own pooled vector, or the mean of its last states.
    Raises InputError where there is no such model, its files do not say how it hears, or the lengths do not fit it.
    """
    bundle = bundle_of(model, "hf")
    hearing = hearing_of(bundle)
    asked_window, asked_hop = (
        None if value is None else whole_samples(value, name, hearing.rate_hz, LONGEST_S)
        for value, name in ((window_s, "hf.window_s"), (hop_s, "hf.hop_s"))
    )
    window, hop = _lengths(hearing, asked_window, asked_hop)
    window_s, hop_s = window / hearing.rate_hz, hop / hearing.rate_hz
    if hearing.token_hop:
        what = f"mean of the last hidden states within this block, heard in windows of {window_s:g} s"
    else:
        what = f"pooled embedding of the {window_s:g} s that begin with this block"
    return StreamSpec(
        stream="hf",
        extractor="huggingface",
        version=VERSION,
        grid=FrameGrid(hearing.rate_hz, hop, "blocks"),
        arrays=(
            ArraySpec(
                name="embedding",
                dtype="float16",
                unit="1",
                description=f"{hearing.model_type}: {what}",
                shape=(hearing.dim,),
            ),
        ),
        parameters={"model": bundle.name, "window_s": window_s, "hop_s": hop_s},
        weights=bundle.weights,
    )


def _lengths(hearing: Hearing, window: int | None, hop: int | None) -> tuple[int, int]:
    """The window and the hop in samples. Raises InputError where what was asked for does not fit the model."""
    rate_hz, own = hearing.rate_hz, hearing.token_hop
    if own is None:
        window = window or hearing.window or round(POOLED_WINDOW_S * rate_hz)
        hop = hop or -(-window // 2)
        if hop > window or (hearing.window and window > hearing.window):
            most = f", and this model hears {hearing.window / rate_hz:g} s" if hearing.window else ""
            raise InputError(f"hf.hop_s is at most hf.window_s, {window / rate_hz:g}{most}; choose shorter ones")
        return window, hop
    hop = hop or own
    window = window or hearing.window or max(hop, round(TOKENS_WINDOW_S * rate_hz) // hop * hop)
    if hop % own or window % hop:
        raise InputError(
            f"hf.hop_s {hop / rate_hz:g} is a multiple of the model's own step, {own / rate_hz:g} s, and hf.window_s "
            f"{window / rate_hz:g} one of hf.hop_s; choose others"
        )
    if hearing.window and window != hearing.window:
        raise InputError(f"this model always hears {hearing.window / rate_hz:g} s; leave hf.window_s out")
    return window, hop
