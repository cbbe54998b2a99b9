"""The labels of a store as the models that know words embed them, written beside the streams they made."""

from collections.abc import Sequence

from features.registry import embed_labels, words_read_by
from storage_schema.errors import InputError, StoreError
from storage_schema.store import Store
from storage_schema.streams import StreamSpec


def write_labels(store: Store, specs: Sequence[StreamSpec]) -> list[str]:
    """Embed every label of the store that is not embedded yet, for each of `specs` whose model knows words.

    Returns a sentence on each of those that was written or could not be: a tokenizer that cannot be used costs the
    zero-shot baseline alone, and nothing that was extracted.
    """
    said = []
    for spec in specs:
        read_by = words_read_by(spec)
        if not read_by:
            continue
        snapshot = store.snapshot()
        labels = sorted({label for labels in snapshot.clips["labels"].to_pylist() for label in labels})
        try:
            there = snapshot.label_embeddings(spec.stream, spec.fingerprint)
        except StoreError:  # made again
            there = None
        if there is not None and dict(there.read_by) != dict(read_by):
            there = None
        missing = labels if there is None else there.missing(labels)
        if not missing:
            continue
        try:
            made = embed_labels(spec, missing)
        except InputError as error:
            said.append(f"{spec.stream}: the labels are not embedded: {error}")
            continue
        store.write_label_embeddings(spec, made if there is None else there.joined(made))
        said.append(f"{spec.stream}: {len(missing):,} {'label' if len(missing) == 1 else 'labels'} embedded")
    return said
