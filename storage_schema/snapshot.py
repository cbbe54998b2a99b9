"""What readers hold: the store as it was at one moment, however much is written meanwhile.

A snapshot is two commit numbers, `<clips>-<extractions>`. Parts never change, so that reading the catalogue at those
commits is enough to see the same bytes forever.
"""

from dataclasses import dataclass
from functools import cached_property

import polars as pl
import pyarrow as pa

from storage_schema import catalogue
from storage_schema.errors import InputError, StoreError
from storage_schema.layout import Layout
from storage_schema.reader import Location, StreamReader
from storage_schema.streams import StreamSpec


@dataclass(frozen=True)
class Coverage:
    """How many of the snapshot's `n_clips` different clips one stream has: `n_ok` done, `n_failed` in quarantine."""

    stream: str
    fingerprint: str
    n_clips: int
    n_ok: int
    n_failed: int

    @property
    def n_missing(self) -> int:
        return self.n_clips - self.n_ok - self.n_failed


@dataclass(frozen=True)
class Snapshot:
    """One state of the store; open it with `Store.snapshot`."""

    layout: Layout
    clips_version: int
    extractions_version: int

    @property
    def id(self) -> str:
        return f"{self.clips_version}-{self.extractions_version}"

    @cached_property
    def _clips(self) -> pl.DataFrame:
        return catalogue.read_table(self.layout.clips, self.clips_version).sort("dataset", "uri")

    @cached_property
    def _extractions(self) -> pl.DataFrame:
        return catalogue.read_table(self.layout.extractions, self.extractions_version)

    @cached_property
    def clips(self) -> pa.Table:
        """One row per (dataset, uri), sorted so; the columns are those of `storage_schema.tables.CLIPS`."""
        return self._clips.to_arrow(compat_level=pl.CompatLevel.oldest())

    def coverage(self) -> list[Coverage]:
        """One entry per stream and fingerprint that anything was extracted for, counted over the clips still listed."""
        n_clips = self._clips["clip_id"].drop_nulls().n_unique()
        counts = (
            self._live_extractions()
            .group_by("stream", "fingerprint")
            .agg(ok=(pl.col("status") == "ok").sum(), failed=(pl.col("status") == "failed").sum())
            .sort("stream", "fingerprint")
        )
        return [Coverage(stream, print_, n_clips, ok, failed) for stream, print_, ok, failed in counts.iter_rows()]

    def problems(self) -> pa.Table:
        """All that went wrong: dataset, uri, stream (null: at ingest), kind, message, attempts; one row a file."""
        at_ingest = self._clips.filter(pl.col("problem").is_not_null()).select(
            "dataset",
            "uri",
            stream=pl.lit(None, pl.String),
            fingerprint=pl.lit(None, pl.String),
            kind="problem_kind",
            message="problem",
            attempts=pl.lit(1, pl.Int32),
        )
        failed = self._live_extractions().filter(status="failed").join(self._clips, on="clip_id")
        return (
            pl.concat([at_ingest, failed.select(at_ingest.columns)])
            .sort("dataset", "uri", "stream")
            .to_arrow(compat_level=pl.CompatLevel.oldest())
        )

    def outstanding(self, stream: str, fingerprint: str) -> pa.Table:
        """The clips without an `ok` row for this stream and fingerprint, one row a clip_id, shortest first.

        Columns: clip_id; root and uri, lists of every place the bytes lie; n_bytes, mtime_ns, duration_s (nullable);
        failure (the kind of an earlier failure, else null), attempts; other_fingerprint: another fingerprint of the
        same stream this clip is already extracted for (the newest), else null.
        """
        of_stream = self._extractions.filter(stream=stream)
        exact = of_stream.filter(fingerprint=fingerprint).select("clip_id", "status", "kind", "attempts")
        other = (
            of_stream.filter(pl.col("fingerprint") != fingerprint, pl.col("status") == "ok")
            .sort("finished_at", "fingerprint")
            .group_by("clip_id")
            .agg(other_fingerprint=pl.col("fingerprint").last())
        )
        clips = (
            self._clips.filter(pl.col("clip_id").is_not_null())
            .group_by("clip_id")
            .agg("root", "uri", pl.col("n_bytes", "mtime_ns", "duration_s").first())
        )
        return (
            clips.join(exact, on="clip_id", how="left")
            .filter(pl.col("status").is_null() | (pl.col("status") != "ok"))
            .join(other, on="clip_id", how="left")
            .select(
                "clip_id",
                "root",
                "uri",
                "n_bytes",
                "mtime_ns",
                "duration_s",
                "attempts",
                "other_fingerprint",
                failure="kind",
            )
            .sort("duration_s", "clip_id")
            .to_arrow(compat_level=pl.CompatLevel.oldest())
        )

    def stream(self, name: str, fingerprint: str | None = None) -> StreamReader:
        """The stream `name`, with the fingerprint that was extracted last unless one is given.

        Raises InputError where the snapshot has no such stream, naming those it has.
        """
        rows = self._live_extractions().filter(status="ok", stream=name)
        if fingerprint is not None:
            rows = rows.filter(fingerprint=fingerprint)
        if rows.is_empty():
            have = sorted({f"{entry.stream}" for entry in self.coverage() if entry.n_ok})
            asked = name if fingerprint is None else f"{name} with fingerprint {fingerprint}"
            raise InputError(
                f"snapshot {self.id} has nothing of stream {asked}; it has {', '.join(have) or 'no features at all'}. "
                f"`timbrel extract --streams {name}` makes them"
            )
        if fingerprint is None:
            fingerprint = rows.sort("finished_at", "fingerprint")["fingerprint"][-1]
            rows = rows.filter(fingerprint=fingerprint)
        return StreamReader(self.spec(name, fingerprint), self.layout, _locations(rows))

    def spec(self, stream: str, fingerprint: str) -> StreamSpec:
        """The description that was written with the stream. Raises StoreError where it is lost or was changed."""
        path = self.layout.spec(stream, fingerprint)
        try:
            found = StreamSpec.from_json(path.read_text(encoding="utf-8"))
        except (OSError, InputError) as error:
            raise StoreError(f"the description of stream {stream} {fingerprint} cannot be read: {error}") from error
        if found.fingerprint != fingerprint:
            raise StoreError(
                f"{path} describes a stream with fingerprint {found.fingerprint}, but lies where that of {fingerprint} "
                "belongs; restore it from a backup"
            )
        return found

    def _live_extractions(self) -> pl.DataFrame:
        """Without the rows of clips that are no longer listed: their bytes were replaced under the same path."""
        return self._extractions.join(self._clips.select("clip_id").unique(), on="clip_id", how="semi")


def _locations(rows: pl.DataFrame) -> dict[str, Location]:
    columns = rows.sort("clip_id").select("clip_id", "part_id", "first_row", "n_rows")
    return {clip_id: Location(part, first, n) for clip_id, part, first, n in columns.iter_rows()}
