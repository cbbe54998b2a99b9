"""Read a pinned snapshot again and again: `python -m tests.stress.reader STORE SNAPSHOT STOP`.

It opens the store anew each time, prints a hash of every byte it saw, and ends once the file STOP is there.
"""

import hashlib
import sys
from pathlib import Path

from storage_schema import open_store


def digest(store_uri, snapshot_id):
    """Of all arrays of all streams, in order, and of the catalogue of clips."""
    snapshot = open_store(store_uri).snapshot(snapshot_id)
    found = hashlib.blake2b(repr(snapshot.clips.to_pylist()).encode(), digest_size=16)
    for stream, fingerprint in snapshot.streams:
        everything = snapshot.stream(stream, fingerprint).read_all()
        found.update(repr((stream, fingerprint, everything.clip_ids)).encode())
        for name, values in everything.arrays.items():
            found.update(name.encode() + values.tobytes())
    return found.hexdigest()


def main(store_uri, snapshot_id, stop):
    while True:
        is_last = stop.exists()
        print(digest(store_uri, snapshot_id), flush=True)
        if is_last:
            break


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
