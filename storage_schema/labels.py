"""What a stream's own model makes of words: an embedding of each label, beside the stream, to compare sound with.

    streams/<stream>/<fingerprint>/labels.parquet     label, prompt, embedding; as metadata scale, read_by

A model that maps sound and words to one space (CLAP) can name a sound without ever having been shown one. The words are
embedded where the weights are, and lie in the store, so that training needs neither. The file says nothing that could
not be made again: it is replaced whole, grows with the labels, and is no part of a snapshot (decision 0017).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from storage_schema.errors import InputError, StoreError
from storage_schema.files import Files
from storage_schema.layout import labels_key

LABELS = pa.schema(
    [
        pa.field("label", pa.string(), nullable=False, metadata={"meaning": "as in clips.labels; the key"}),
        pa.field("prompt", pa.string(), nullable=False, metadata={"meaning": "the words that were embedded"}),
        pa.field("embedding", pa.list_(pa.float32()), nullable=False, metadata={"meaning": "of length 1"}),
    ]
)


@dataclass(frozen=True)
class LabelEmbeddings:
    """Labels in one model's space of sounds.

    vectors: (n_labels, dim) float32 of length 1. `scale` is what the model multiplies a cosine with to have a score.
    `read_by` maps the files that turned words into numbers (a tokenizer, a prompt) to their hashes.
    """

    labels: tuple[str, ...]
    prompts: tuple[str, ...]
    vectors: NDArray[np.float32]
    scale: float
    read_by: Mapping[str, str] = field(default_factory=dict)

    def missing(self, labels: Sequence[str]) -> list[str]:
        """Those of `labels` that are not here."""
        return [label for label in labels if label not in set(self.labels)]

    def of(self, labels: Sequence[str]) -> NDArray[np.float32]:
        """(n_labels, dim), in the order of `labels`. Raises InputError where one is missing."""
        if missing := self.missing(labels):
            raise InputError(f"there are no embeddings of the labels {', '.join(map(repr, missing[:5]))}")
        place = {label: i for i, label in enumerate(self.labels)}
        return self.vectors[[place[label] for label in labels]]

    def joined(self, other: "LabelEmbeddings") -> "LabelEmbeddings":
        """These and those of another, which were made in the same way."""
        return LabelEmbeddings(
            self.labels + other.labels,
            self.prompts + other.prompts,
            np.concatenate([self.vectors, other.vectors]),
            self.scale,
            self.read_by,
        )


def write_label_embeddings(files: Files, stream: str, fingerprint: str, found: LabelEmbeddings) -> None:
    """Put `found` beside the stream, in place of what lies there. Raises OSError."""
    columns = [pa.array(found.labels), pa.array(found.prompts), pa.array(list(found.vectors), LABELS.types[2])]
    how = {"scale": json.dumps(found.scale), "read_by": json.dumps(dict(found.read_by))}
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns, schema=LABELS.with_metadata(how)), sink)
    files.write(labels_key(stream, fingerprint), sink.getvalue().to_pybytes())


def read_label_embeddings(files: Files, stream: str, fingerprint: str) -> LabelEmbeddings | None:
    """What lies beside the stream, None where nothing does. Raises StoreError where it is damaged."""
    key = labels_key(stream, fingerprint)
    try:
        table = parquet.read_table(pa.BufferReader(files.read(key)))
        how = {name.decode(): json.loads(value) for name, value in (table.schema.metadata or {}).items()}
        if table.schema.names != LABELS.names or not table.num_rows:
            raise ValueError(f"it has the columns {table.schema.names} and {table.num_rows} rows")
        vectors = np.array(table["embedding"].to_pylist(), np.float32)
        if vectors.ndim != 2 or not np.isfinite(vectors).all():
            raise ValueError("its embeddings are of different lengths, or no numbers")
        labels, prompts = (tuple(table[name].to_pylist()) for name in ("label", "prompt"))
        return LabelEmbeddings(labels, prompts, vectors, float(how["scale"]), dict(how["read_by"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise StoreError(
            f"{files.uri}/{key} is damaged ({error}); delete it, and `timbrel extract --streams {stream}` makes it anew"
        ) from error
