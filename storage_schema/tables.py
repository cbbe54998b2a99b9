"""The two tables of the catalogue: every column with its type and its meaning, declared once.

`ClipRow` and `ExtractionRow` are the same columns as Python objects; their field names and order are the schema's,
which a test holds them to.
"""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from datetime import UTC, datetime

import pyarrow as pa

from storage_schema.errors import FailureKind

_TIME = pa.timestamp("us", "UTC")


def _column(name: str, type_: pa.DataType, meaning: str, *, nullable: bool = True) -> pa.Field:
    return pa.field(name, type_, nullable=nullable, metadata={"meaning": meaning})


CLIPS = pa.schema(
    [
        _column("dataset", pa.string(), "name of the dataset; with uri the key", nullable=False),
        _column("uri", pa.string(), "path below root, with forward slashes; with dataset the key", nullable=False),
        _column("root", pa.string(), "folder the uri starts from, as it was at the last ingest", nullable=False),
        _column("clip_id", pa.string(), "BLAKE2b-128 of the file's bytes in hex; null where they cannot be read"),
        _column("n_bytes", pa.int64(), "size of the file"),
        _column("mtime_ns", pa.int64(), "modification time of the file, nanoseconds since 1970"),
        _column("duration_s", pa.float64(), "length by the file's header in seconds; null where it has none"),
        _column("sample_rate_hz", pa.int32(), "rate by the file's header"),
        _column("n_channels", pa.int32(), "channels by the file's header"),
        _column("labels", pa.list_(pa.string()), "what is heard; empty where nobody said", nullable=False),
        _column("split", pa.string(), "the dataset's own split: train, validation or test"),
        _column("fold", pa.int32(), "the dataset's own cross-validation fold"),
        _column("source_group", pa.string(), "clips cut from one source share it and never meet across a split"),
        _column("problem_kind", pa.string(), "why the file could not even be hashed; null where it could"),
        _column("problem", pa.string(), "the same as a sentence"),
        _column("ingested_at", _TIME, "when this row was last written", nullable=False),
        _column("replaced_clip_id", pa.string(), "the clip that lay here before its bytes changed, else null"),
    ]
)

EXTRACTIONS = pa.schema(
    [
        _column("clip_id", pa.string(), "the clip; with stream and fingerprint the key", nullable=False),
        _column("stream", pa.string(), "the kind of feature", nullable=False),
        _column("fingerprint", pa.string(), "hash of all the numbers depend on", nullable=False),
        _column("status", pa.string(), "ok or failed", nullable=False),
        _column("part_id", pa.string(), "ok: the part the frames lie in"),
        _column("first_row", pa.int64(), "ok: the clip's first frame in the part"),
        _column("n_rows", pa.int64(), "ok: how many frames it has"),
        _column("audio_s", pa.float64(), "ok: seconds of audio decoded"),
        _column("elapsed_ms", pa.float64(), "this clip's share of its batch's wall time; null where nobody saw it"),
        _column("stage", pa.string(), "failed: decode or extract"),
        _column("kind", pa.string(), "failed: one of storage_schema.errors.FAILURE_KINDS"),
        _column("message", pa.string(), "failed: a sentence that names the file"),
        _column("attempts", pa.int32(), "how often it has been tried", nullable=False),
        _column("finished_at", _TIME, "when the last try ended", nullable=False),
    ]
)

PARTITION_BY = ("stream", "fingerprint")
"""The columns by which the files of `extractions` lie apart, so that one stream is read without the others."""


@dataclass(frozen=True)
class ClipRow:
    """One row of `clips`; the columns are explained in `CLIPS`."""

    dataset: str
    uri: str
    root: str
    clip_id: str | None
    n_bytes: int | None
    mtime_ns: int | None
    duration_s: float | None
    sample_rate_hz: int | None
    n_channels: int | None
    labels: tuple[str, ...]
    split: str | None
    fold: int | None
    source_group: str | None
    problem_kind: FailureKind | None
    problem: str | None
    ingested_at: datetime
    replaced_clip_id: str | None = None


@dataclass(frozen=True)
class ExtractionRow:
    """One row of `extractions`; the columns are explained in `EXTRACTIONS`."""

    clip_id: str
    stream: str
    fingerprint: str
    status: str
    part_id: str | None
    first_row: int | None
    n_rows: int | None
    audio_s: float | None
    elapsed_ms: float | None
    stage: str | None
    kind: FailureKind | None
    message: str | None
    attempts: int
    finished_at: datetime

    @classmethod
    def failed(
        cls, clip_id: str, stream: str, fingerprint: str, *, stage: str, kind: FailureKind, message: str
    ) -> "ExtractionRow":
        """The row of a clip that could not be extracted, this try being its first."""
        where = (None, None, None, None, None)
        return cls(clip_id, stream, fingerprint, "failed", *where, stage, kind, message, 1, datetime.now(UTC))

    @classmethod
    def ok(
        cls,
        clip_id: str,
        stream: str,
        fingerprint: str,
        *,
        part_id: str,
        first_row: int,
        n_rows: int,
        audio_s: float | None,
        elapsed_ms: float | None,
        finished_at: datetime,
    ) -> "ExtractionRow":
        """The row of a clip whose frames lie in a part, this try being its first."""
        where = (part_id, first_row, n_rows, audio_s, elapsed_ms)
        return cls(clip_id, stream, fingerprint, "ok", *where, None, None, None, 1, finished_at)


def to_table(rows: Iterable[ClipRow] | Iterable[ExtractionRow], schema: pa.Schema) -> pa.Table:
    """The rows as an Arrow table of `schema`."""
    columns = list(zip(*(astuple(row) for row in rows), strict=True)) or [()] * len(schema)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema=schema)
