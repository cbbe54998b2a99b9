"""The streams timbrel knows, by name; each extractor is imported only when it is asked for.

Specs are cheap: `spec_for` reads no weights and imports neither torch nor essentia, so that planning starts at once.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

from features.extractor import Extractor
from storage_schema.errors import InputError
from storage_schema.fingerprint import Json
from storage_schema.streams import StreamSpec

if TYPE_CHECKING:
    from storage_schema.labels import LabelEmbeddings


@dataclass(frozen=True)
class StreamKind:
    """Where a stream's spec function and its extractor class live, as `module:name`.

    needs_model: it has no default, because its parameter `model` names weights that the user brings. words: the
    module with `words_read_by` and `embed_labels`, where the model knows words too.
    """

    summary: str
    spec: str
    extractor: str
    needs_model: bool = False
    words: str | None = None


STREAMS: Mapping[str, StreamKind] = {
    "pitch": StreamKind("CREPE pitch salience", "features.pitch.spec:pitch_spec", "features.pitch.crepe:CrepePitch"),
    "timbre": StreamKind(
        "Essentia descriptors", "features.timbre.spec:timbre_spec", "features.timbre.essentia:EssentiaTimbre"
    ),
    "neural": StreamKind("aiSFX embedding", "features.neural.spec:aisfx_spec", "features.neural.aisfx:AisfxEmbedding"),
    "waveform": StreamKind(
        "the samples themselves", "features.waveform:waveform_spec", "features.waveform:WaveformFrames"
    ),
    "logmel": StreamKind("log-mel spectrogram", "features.logmel:logmel_spec", "features.logmel:LogMel"),
    "clap": StreamKind(
        "CLAP embedding",
        "features.clap.spec:clap_spec",
        "features.clap.clap:ClapEmbedding",
        needs_model=True,
        words="features.clap.words",
    ),
    "hf": StreamKind(
        "embedding of a Hugging Face audio encoder",
        "features.hf.spec:hf_spec",
        "features.hf.encoder:HuggingFaceEmbedding",
        needs_model=True,
    ),
    "onnx": StreamKind(
        "embedding of an ONNX audio encoder",
        "features.onnx.spec:onnx_spec",
        "features.onnx.encoder:OnnxEmbedding",
        needs_model=True,
    ),
}

DEFAULT_STREAMS = ("pitch", "timbre", "neural", "waveform")
"""The four of arXiv 2309.08751."""


def spec_for(stream: str, parameters: Mapping[str, Json] | None = None) -> StreamSpec:
    """The spec of `stream` with `parameters` in place of its defaults.

    Raises InputError for an unknown stream, an unknown parameter, or a value that the stream refuses.
    """
    make_spec = _resolve(_kind(stream).spec)
    known = inspect.signature(make_spec).parameters  # type: ignore[arg-type]
    unknown = sorted(set(parameters or {}) - set(known))
    if unknown:
        raise InputError(f"stream {stream} has no parameter {', '.join(unknown)}; it has {', '.join(known) or 'none'}")
    return cast(StreamSpec, make_spec(**(parameters or {})))  # type: ignore[operator]


def load_extractor(spec: StreamSpec) -> Extractor:
    """The extractor that makes exactly the numbers `spec` describes; reads its weights, which may take seconds.

    Raises InputError where this version of timbrel cannot make them, naming both fingerprints.
    """
    own = spec_for(spec.stream, spec.parameters)
    if own.fingerprint != spec.fingerprint:
        raise InputError(
            f"stream {spec.stream} was made with fingerprint {spec.fingerprint}, but this version of timbrel makes "
            f"{own.fingerprint}; extract it again, or use the version that wrote it"
        )
    return cast(Extractor, _resolve(_kind(spec.stream).extractor)(own))  # type: ignore[operator]


def words_read_by(spec: StreamSpec) -> Mapping[str, str]:
    """What the model of `spec` reads words with, by hash; nothing where it knows none. Reads no weights."""
    words = _kind(spec.stream).words
    return cast(Mapping[str, str], import_module(words).words_read_by(spec)) if words else {}


def embed_labels(spec: StreamSpec, labels: Sequence[str]) -> "LabelEmbeddings":
    """What the model of `spec`, which knows words, makes of `labels`. InputError where it cannot be loaded."""
    words = _kind(spec.stream).words
    assert words is not None, "asked of a model that knows no words"
    return cast("LabelEmbeddings", import_module(words).embed_labels(spec, labels))


def _kind(stream: str) -> StreamKind:
    if stream not in STREAMS:
        raise InputError(f"there is no stream {stream!r}; choose from {', '.join(STREAMS)}")
    return STREAMS[stream]


def _resolve(reference: str) -> object:
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
