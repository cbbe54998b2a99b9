"""The only module that knows where things lie in a store, as keys below its root.

    timbrel.json                          schema version, creation time; what makes a folder a store
    clips/, extractions/                  Delta tables
    streams/<stream>/<fingerprint>/       spec.json, parts/<part_id>.zarr/, labels.parquet where its model knows words
    runs/<run_id>/                        a training run
    promoted/<dataset>.json               which of them is in use

Every name that comes from outside is checked before it becomes part of a key, so that none leads out of the store.
"""

import re

from storage_schema.errors import InputError

MARKER, CLIPS, EXTRACTIONS, STREAMS, RUNS = "timbrel.json", "clips", "extractions", "streams", "runs"
PROMOTED = "promoted"

PART_SUFFIX = ".zarr"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


def run_key(run_id: str) -> str:
    return f"{RUNS}/{checked_name(run_id, 'run')}"


def promoted_key(name: str) -> str:
    return f"{PROMOTED}/{checked_name(name, 'dataset')}.json"


def stream_key(stream: str, fingerprint: str) -> str:
    return f"{STREAMS}/{checked_name(stream, 'stream')}/{checked_name(fingerprint, 'fingerprint')}"


def spec_key(stream: str, fingerprint: str) -> str:
    return f"{stream_key(stream, fingerprint)}/spec.json"


def labels_key(stream: str, fingerprint: str) -> str:
    return f"{stream_key(stream, fingerprint)}/labels.parquet"


def parts_key(stream: str, fingerprint: str) -> str:
    return f"{stream_key(stream, fingerprint)}/parts"


def part_key(stream: str, fingerprint: str, part_id: str) -> str:
    return f"{parts_key(stream, fingerprint)}/{checked_name(part_id, 'part')}{PART_SUFFIX}"


def is_name(name: str) -> bool:
    """Whether a name could be that of a stream, a fingerprint, a part or a run."""
    return _NAME.fullmatch(name) is not None


def checked_name(name: str, what: str) -> str:
    """`name` unchanged, or InputError where it could not safely be a file name."""
    if not is_name(name):
        raise InputError(
            f"{name!r} is no name for a {what}: use letters, digits, dot, dash and underscore, at most 128"
        )
    return name
