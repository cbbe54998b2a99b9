"""The files of a model that somebody brought, in the weights cache under the hash of what its numbers depend on.

A bundle is a folder `<cache>/weights/<hash>` with the model's files and a `manifest.json` that lists them. The hash is
that of the names and SHA-256s of the files that change numbers: weights, config, preprocessor. Tokenizer files lie in
it too, for the words that CLAP compares sound with, and are no part of the hash. So a spec can name a model without a
path, and any process on any day finds it, or says what to bring.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from features.weights import CACHE_VARIABLE, cache_folder
from storage_schema.atomic import fsync_tree, place_folder
from storage_schema.errors import InputError
from storage_schema.fingerprint import canonical_json

PREFIX = "sha256:"
"""What the name of a bundle begins with; 64 hexadecimal digits follow."""

MANIFEST = "manifest.json"
MOST_DOCUMENT_BYTES = 16 * 2**20
"""A config or manifest that is longer is something else."""

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")


@dataclass(frozen=True)
class BundleFile:
    """One file of a bundle; `counts` where its bytes change what an extractor computes."""

    sha256: str
    n_bytes: int
    counts: bool


@dataclass(frozen=True)
class Bundle:
    """A model in the cache: its files by name."""

    files: Mapping[str, BundleFile]

    @property
    def hash(self) -> str:
        """The SHA-256 of the names and hashes of the files that count."""
        return hashlib.sha256(canonical_json(self.weights).encode()).hexdigest()

    @property
    def name(self) -> str:
        """What a spec calls it."""
        return PREFIX + self.hash

    @property
    def folder(self) -> Path:
        return cache_folder() / self.hash

    @property
    def weights(self) -> dict[str, str]:
        """File name to SHA-256, of those that count: what a spec lists as its weights."""
        return {name: file.sha256 for name, file in self.files.items() if file.counts}

    @property
    def n_bytes(self) -> int:
        return sum(file.n_bytes for file in self.files.values())


def find_bundle(name: str) -> Bundle:
    """The bundle called `name`, `sha256:` and 64 digits; its files are not read. InputError where it is not here."""
    digits = name.removeprefix(PREFIX)
    if not re.fullmatch("[0-9a-f]{64}", digits):
        raise InputError(f"{name} is no name of a model; it is {PREFIX} and 64 hexadecimal digits")
    bundle = _read_manifest(cache_folder() / digits)
    if bundle is None or bundle.hash != digits:
        raise InputError(f"the model {name} is not in {cache_folder()}; {_HOW_TO_BRING}")
    return bundle


def verified_folder(name: str) -> Path:
    """The folder of the bundle called `name`, every file of it read and found whole. InputError where it is not."""
    bundle = find_bundle(name)
    for file_name, file in bundle.files.items():
        if not _is_intact(bundle.folder / file_name, file):
            raise InputError(
                f"{bundle.folder / file_name} is not the file that was added with the model {name}; {_HOW_TO_BRING}"
            )
    return bundle.folder


def is_brought(model: object) -> bool:
    """Whether a spec's parameter is the name of a bundle."""
    return isinstance(model, str) and model.startswith(PREFIX)


def list_bundles() -> list[Bundle]:
    """Every bundle in the cache, by its name."""
    folder = cache_folder()
    found = [_read_manifest(each) for each in sorted(folder.iterdir())] if folder.is_dir() else []
    return [bundle for bundle in found if bundle is not None]


def add_bundle(files: Mapping[str, Path], counting: frozenset[str]) -> Bundle:
    """Put `files`, by the names they get, into the cache as one bundle, unless they lie there whole already.

    counting: the names of those that change numbers. Copies are made, not links: a folder may be written to later.
    Raises InputError where a file cannot be read or the cache cannot be written.
    """
    hashed = {name: hash_file(path, name in counting) for name, path in sorted(files.items())}
    wanted = Bundle(hashed)
    if _read_manifest(wanted.folder) == wanted and _is_whole(wanted):
        return wanted
    root = wanted.folder.parent
    try:
        root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root, prefix=".") as scratch:
            staged = Path(scratch, "bundle")
            staged.mkdir()
            for name, path in files.items():
                shutil.copyfile(path, staged / name)
                if hash_file(staged / name, name in counting) != hashed[name]:
                    raise InputError(f"{path} was changed while it was read; run the same command again")
            (staged / MANIFEST).write_text(json.dumps(asdict(wanted), indent=2), encoding="utf-8")
            fsync_tree(staged)
            if wanted.folder.exists():  # damaged, or with other words; whoever reads it holds its files open
                wanted.folder.rename(Path(scratch, "old"))
            try:
                place_folder(staged, wanted.folder)
            except FileExistsError:  # another process was faster with the same files
                return find_bundle(wanted.name)
    except OSError as error:
        raise InputError(
            f"the model cannot be kept in {root} ({error.strerror}); name a folder you may write to in {CACHE_VARIABLE}"
        ) from error
    return wanted


def hash_file(path: Path, counts: bool = True) -> BundleFile:
    """The SHA-256 and length of a file. InputError where it cannot be read."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return BundleFile(digest, os.fstat(file.fileno()).st_size, counts)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); see that it is a file you may read") from error


def read_document(path: Path) -> dict[str, Any]:
    """A JSON object from a file that anybody may have made. Raises InputError that names the file."""
    try:
        with path.open("rb") as file:
            content = file.read(MOST_DOCUMENT_BYTES + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); see that the model's folder is whole") from error
    if len(content) > MOST_DOCUMENT_BYTES:
        raise InputError(f"{path} is longer than {MOST_DOCUMENT_BYTES} bytes, so that it is no configuration")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON ({error}); see that the model's folder is whole") from error
    if not isinstance(document, dict):
        raise InputError(f"{path} holds no JSON object; see that the model's folder is whole")
    return document


_HOW_TO_BRING = "`timbrel weights add FOLDER`, with the folder or hub id that it came from, brings it here"


def _read_manifest(folder: Path) -> Bundle | None:
    """What the manifest says, or None where there is none of ours."""
    if not (folder / MANIFEST).is_file():
        return None
    try:
        document = read_document(folder / MANIFEST)
        files = {name: BundleFile(**entry) for name, entry in document["files"].items()}
        bundle = Bundle(files)
        is_sound = all(_FILE_NAME.fullmatch(name) for name in files) and bundle.hash == folder.name
        is_sound &= all(isinstance(file.n_bytes, int) and isinstance(file.sha256, str) for file in files.values())
    except (InputError, KeyError, TypeError, AttributeError):
        return None
    return bundle if is_sound else None


def _is_whole(bundle: Bundle) -> bool:
    return all(_is_intact(bundle.folder / name, file) for name, file in bundle.files.items())


def _is_intact(path: Path, file: BundleFile) -> bool:
    try:
        return hash_file(path, file.counts) == file
    except InputError:
        return False
