"""From what a person wrote after `model=` to a bundle: a folder, a hub id, an ONNX file, or a bundle's own name.

Of a folder only the files on a short list are taken: weights as safetensors, which can run no code, configuration and
tokenizer. A folder that has its weights as a pickle only is refused. With an ONNX file come the files beside it that
hold its tensors.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from features.brought.bundle import MANIFEST, Bundle, add_bundle, find_bundle, is_brought, read_document
from features.brought.hub import fetch_from_hub
from features.brought.onnx_file import GRAPH, external_files, read_onnx
from storage_schema.errors import InputError

CONFIG, PREPROCESSOR, PROCESSOR = "config.json", "preprocessor_config.json", "processor_config.json"
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
)

WANTED_OF_A_HUB = (CONFIG, PREPROCESSOR, PROCESSOR, "model*.safetensors", INDEX, *TOKENIZER)
"""Patterns of the files that are downloaded."""

_HUB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*")
_SHARD = re.compile(r"model[A-Za-z0-9_.-]*\.safetensors")


def bundle_of(model: object, stream: str) -> Bundle:
    """The bundle that `model`, a parameter of `stream`, stands for; what is not in the cache is added to it first.

    Raises InputError where it is none of these or cannot be had.
    """
    if not isinstance(model, str) or not model:
        raise InputError(f"stream {stream} needs a model: --set {stream}.model=MODEL, {_FORMS}")
    return find_bundle(model) if is_brought(model) else bring(model)


def bring(source: str) -> Bundle:
    """The model at `source`, a folder, hub id or ONNX file, added to the cache. InputError where there is none."""
    try:
        path = Path(source).expanduser()
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, RuntimeError, ValueError):  # too long a name, a home of nobody, a zero byte
        is_folder = is_file = False
    if is_folder:
        return _bring_folder(path)
    if is_file and path.suffix == ".onnx":
        return _bring_onnx(path)
    if not is_file and _HUB_ID.fullmatch(source):
        return _bring_folder(fetch_from_hub(source, WANTED_OF_A_HUB))
    found = "is a file" if is_file else "is neither a folder nor a hub id"
    raise InputError(f"{source!r} {found}; a model is {_FORMS}")


def config_of(bundle: Bundle) -> dict[str, object]:
    """The configuration of a Hugging Face model. Raises InputError where the bundle is another kind of model."""
    if CONFIG not in bundle.files:
        raise InputError(f"the model {bundle.name} is an ONNX file; it makes the stream onnx, with --set onnx.model=")
    return read_document(bundle.folder / CONFIG)


def preprocessor_of(bundle: Bundle) -> tuple[dict[str, object], str]:
    """The feature extractor's settings and the file they stand in; the nested ones count first, as in transformers."""
    if PROCESSOR in bundle.files:
        nested = read_document(bundle.folder / PROCESSOR).get("feature_extractor")
        if isinstance(nested, dict):
            return nested, PROCESSOR
    if PREPROCESSOR not in bundle.files:
        raise InputError(f"{PROCESSOR} of the model {bundle.name} has no feature_extractor; take another model")
    return read_document(bundle.folder / PREPROCESSOR), PREPROCESSOR


def whole_number(document: Mapping[str, object], name: str, default: int, most: int, where: str) -> int:
    """A setting from 1 to `most` of a document that anybody may have made. Raises InputError that says `where`."""
    value = document.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise InputError(f"{name} in {where} is {value!r}; a whole number from 1 to {most} was expected")
    return value


def whole_samples(value: object, name: str, rate_hz: int, longest_s: int) -> int:
    """A length in seconds as samples. Raises InputError where it is none, or no whole number of them."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= longest_s:
        raise InputError(f"{name} is a number of seconds up to {longest_s}, not {value!r}")
    n_samples = round(value * rate_hz)
    if n_samples < 1 or abs(n_samples - value * rate_hz) > 1e-3:
        raise InputError(f"{name} of {value} s is no whole number of samples at {rate_hz} Hz; choose another")
    return n_samples


_FORMS = (
    "a Hugging Face folder with safetensors weights, a hub id such as laion/clap-htsat-unfused, or a file model.onnx"
)


def _bring_onnx(path: Path) -> Bundle:
    beside = external_files(read_onnx(path), path.parent)
    if taken := {GRAPH, MANIFEST} & set(beside):
        raise InputError(f"{path} has tensors in a file called {taken.pop()}; export it again with another name")
    files = {GRAPH: path, **beside}
    return add_bundle(files, frozenset(files))


def _bring_folder(folder: Path) -> Bundle:
    counting = {CONFIG, *_weight_files(folder)}
    if not (folder / CONFIG).is_file():
        raise InputError(f"{folder} has no {CONFIG}; name the folder that `save_pretrained` wrote")
    preprocessors = [name for name in (PREPROCESSOR, PROCESSOR) if (folder / name).is_file()]
    if not preprocessors:
        raise InputError(f"{folder} has no {PREPROCESSOR}; save the model's feature extractor beside it")
    counting |= set(preprocessors)
    words = {name for name in TOKENIZER if (folder / name).is_file()}
    return add_bundle({name: folder / name for name in counting | words}, frozenset(counting))


def _weight_files(folder: Path) -> set[str]:
    if (folder / WEIGHTS).is_file():
        return {WEIGHTS}
    if not (folder / INDEX).is_file():
        raise InputError(
            f"{folder} has no {WEIGHTS}; weights in another form can run code as they are read, and are not: save the "
            "model again with transformers' `save_pretrained`, which writes safetensors"
        )
    places = read_document(folder / INDEX).get("weight_map")
    shards = set(places.values()) if isinstance(places, dict) else set()
    if not shards or not all(isinstance(shard, str) and _SHARD.fullmatch(shard) for shard in shards):
        raise InputError(f"{folder / INDEX} does not say which files the weights are in; save the model again")
    return {INDEX, *shards}
