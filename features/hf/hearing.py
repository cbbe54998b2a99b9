"""How a model hears, read from its JSON files: at what rate, in windows of what length, and how often it speaks.

Two kinds of encoder exist. Those of `WAVE_TYPES` and Whisper give one vector every so many samples, which is their own
grid. All others (AST and its like, whose vectors are patches of a spectrogram) are asked for one vector a window.
Sources: Baevski et al., wav2vec 2.0, NeurIPS 2020; Radford et al., Whisper, ICML 2023; Gong et al., AST, Interspeech
2021; the names are those of transformers' configurations.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from features.brought.bundle import Bundle
from features.brought.sources import CONFIG, config_of, preprocessor_of, whole_number
from storage_schema.errors import InputError

WAVE_TYPES = frozenset({"data2vec-audio", "hubert", "unispeech", "unispeech-sat", "wav2vec2", "wavlm"})
"""Model types whose first layers are unpadded convolutions over the samples, and whose tokens are what those give."""

STRIDES, KERNELS = (5, 2, 2, 2, 2, 2, 2), (10, 3, 3, 3, 3, 2, 2)
"""Of those convolutions, where a config leaves them out: 20 ms at 16 kHz."""

LONGEST_S = 60
AST_FRAMES_PER_S = 100


@dataclass(frozen=True)
class Hearing:
    """What a model takes and gives.

    `token_hop`: samples from one token to the next, None where tokens have no place in time. `reach`: how many samples
    a token's own stretch goes beyond its hop. `window`: the samples that the model always hears, None for any number.
    """

    model_type: str
    rate_hz: int
    dim: int
    token_hop: int | None = None
    reach: int = 0
    window: int | None = None


def hearing_of(bundle: Bundle) -> Hearing:
    """How the model `bundle` hears. Raises InputError where its files do not say, or say that it is no encoder."""
    config = config_of(bundle)
    settings, file = preprocessor_of(bundle)
    model_type = config.get("model_type")
    if not isinstance(model_type, str):
        raise InputError(f"{CONFIG} of the model {bundle.name} names no model_type; take one that transformers saved")
    if model_type == "clap":
        raise InputError(f"the model {bundle.name} is a CLAP; it makes the stream clap, with --set clap.model=")
    if "sampling_rate" not in settings:
        raise InputError(f"{file} of the model {bundle.name} names no sampling_rate; take a model that hears sound")
    where = f"{CONFIG} or {file} of the model {bundle.name}"
    rate_hz = whole_number(settings, "sampling_rate", 0, 768_000, where)
    dim = _dim(config, where)
    if model_type in WAVE_TYPES and not config.get("add_adapter"):
        return _wave(config, model_type, rate_hz, dim, where)
    if model_type == "whisper":
        token_hop = 2 * whole_number(settings, "hop_length", 160, rate_hz, where)  # its second convolution halves
        n_tokens = whole_number(config, "max_source_positions", 1500, 100_000, where)
        return Hearing(model_type, rate_hz, dim, token_hop, window=n_tokens * token_hop)
    if model_type == "audio-spectrogram-transformer":
        n_frames = whole_number(settings, "max_length", 1024, LONGEST_S * AST_FRAMES_PER_S, where)
        return Hearing(model_type, rate_hz, dim, window=n_frames * rate_hz // AST_FRAMES_PER_S)
    return Hearing(model_type, rate_hz, dim)


def _wave(config: Mapping[str, object], model_type: str, rate_hz: int, dim: int, where: str) -> Hearing:
    strides = _sizes(config, "conv_stride", STRIDES, where)
    kernels = _sizes(config, "conv_kernel", KERNELS, where)
    hop, length = 1, 1  # in samples, of one step and of one value of the layers so far
    for stride, kernel in zip(strides, kernels, strict=False):
        length += (kernel - 1) * hop
        hop *= stride
    if len(strides) != len(kernels) or hop > rate_hz or not hop <= length <= rate_hz:
        raise InputError(f"conv_stride and conv_kernel in {where} are {strides} and {kernels}, which fit no model")
    return Hearing(model_type, rate_hz, dim, hop, length - hop)


def _sizes(config: Mapping[str, object], name: str, default: tuple[int, ...], where: str) -> tuple[int, ...]:
    sizes = config.get(name, default)
    if not isinstance(sizes, list | tuple) or not 1 <= len(sizes) <= 16:
        raise InputError(f"{name} in {where} is {sizes!r}; a list of whole numbers was expected")
    return tuple(whole_number({name: size}, name, 0, 10_000, where) for size in sizes)


def _dim(config: Mapping[str, object], where: str) -> int:
    names = ("output_hidden_size",) if config.get("add_adapter") else ()
    for name in (*names, "hidden_size", "d_model"):
        if config.get(name) is not None:
            return whole_number(config, name, 0, 65_536, where)
    raise InputError(f"neither hidden_size nor d_model is in {where}; this kind of model cannot be asked")
