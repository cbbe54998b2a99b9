"""From what a person wrote after `model=` to a bundle: a folder, a hub id, or a bundle's own name.

Of a folder only the files on a short list are taken: weights as safetensors, which can run no code, configuration and
tokenizer. A folder that has its weights as a pickle only is refused.
"""

import re
from pathlib import Path

from features.brought.bundle import Bundle, add_bundle, find_bundle, is_brought, read_document
from features.brought.hub import fetch_from_hub
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
    """The bundle that `model`, a parameter of `stream`, stands for; a folder or hub id is added to the cache first.

    Raises InputError where it is none of these or cannot be had.
    """
    if not isinstance(model, str) or not model:
        raise InputError(f"stream {stream} needs a model: --set {stream}.model=MODEL, {_FORMS}")
    return find_bundle(model) if is_brought(model) else bring(model)


def bring(source: str) -> Bundle:
    """The model at `source`, a folder or a hub id, added to the cache. InputError where there is none."""
    try:
        path = Path(source).expanduser()
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, RuntimeError, ValueError):  # too long a name, a home of nobody, a zero byte
        is_folder = is_file = False
    if is_folder:
        return _bring_folder(path)
    if not is_file and _HUB_ID.fullmatch(source):
        return _bring_folder(fetch_from_hub(source, WANTED_OF_A_HUB))
    found = "is a file" if is_file else "is neither a folder nor a hub id"
    raise InputError(f"{source!r} {found}; a model is {_FORMS}")


def preprocessor_of(bundle: Bundle) -> tuple[dict[str, object], str]:
    """The feature extractor's settings and the file they stand in; the nested ones count first, as in transformers."""
    if PROCESSOR in bundle.files:
        nested = read_document(bundle.folder / PROCESSOR).get("feature_extractor")
        if isinstance(nested, dict):
            return nested, PROCESSOR
    if PREPROCESSOR not in bundle.files:
        raise InputError(f"{PROCESSOR} of the model {bundle.name} has no feature_extractor; take another model")
    return read_document(bundle.folder / PREPROCESSOR), PREPROCESSOR


_FORMS = "a Hugging Face folder with safetensors weights, or a hub id such as laion/clap-htsat-unfused"


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
