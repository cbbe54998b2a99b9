"""Whether there is anything new to learn: a hash of all that training by a recipe would read. Imports no torch."""

import hashlib
import io

import pyarrow as pa
import pyarrow.compute as pc

from storage_schema.snapshot import Snapshot
from training.recipe import Recipe, recipe_to_toml

_LEARNED_FROM = ["uri", "clip_id", "labels", "split", "fold", "source_group"]
"""The columns of `clips` that a training run reads."""


def training_state(snapshot: Snapshot, recipe: Recipe) -> str:
    """A hash of all that training by `recipe` would read of `snapshot`; the same where there is nothing new to learn.

    Raises InputError where the snapshot lacks one of the recipe's streams.
    """
    digest = hashlib.blake2b(recipe_to_toml(recipe).encode(), digest_size=16)
    clips = snapshot.clips
    ours = clips.filter(pc.equal(clips["dataset"], recipe.data.dataset)).select(_LEARNED_FROM)
    digest.update(_bytes_of(ours))
    ids = set(ours["clip_id"].to_pylist())
    for name in recipe.data.streams:
        stream = snapshot.stream(name, recipe.data.fingerprints.get(name))
        digest.update(stream.spec.fingerprint.encode())
        digest.update("".join(sorted(ids.intersection(stream.clip_ids))).encode())
    return digest.hexdigest()


def _bytes_of(table: pa.Table) -> bytes:
    """The table's rows as bytes, however its columns are chunked."""
    sink = io.BytesIO()
    whole = table.combine_chunks().replace_schema_metadata(None)
    with pa.ipc.new_stream(sink, whole.schema) as writer:
        writer.write_table(whole)
    return sink.getvalue()
