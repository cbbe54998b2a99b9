"""What readers hold: the store as it was at one moment, however much is written meanwhile.

A snapshot is two commit numbers, `<clips>-<extractions>`. Parts never change, so that reading the catalogue at those
commits is enough to see the same bytes forever. Only the columns that a question needs are read, one stream at a time:
a million clips stay a matter of seconds.
"""

from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import polars as pl
import pyarrow as pa

from storage_schema.catalogue import TableAt, Where
from storage_schema.errors import InputError
from storage_schema.files import Files
from storage_schema.labels import LabelEmbeddings, read_label_embeddings
from storage_schema.layout import CLIPS as CLIPS_KEY
from storage_schema.layout import EXTRACTIONS as EXTRACTIONS_KEY
from storage_schema.parts import list_parts
from storage_schema.reader import Location, StreamReader
from storage_schema.specs import read_spec
from storage_schema.streams import StreamSpec
from storage_schema.tables import CLIPS, EXTRACTIONS


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

    files: Files
    clips_version: int
    extractions_version: int

    @property
    def id(self) -> str:
        return f"{self.clips_version}-{self.extractions_version}"

    @cached_property
    def clips(self) -> pa.Table:
        """One row per (dataset, uri), sorted so; the columns are those of `storage_schema.tables.CLIPS`."""
        return _to_arrow(self._clips(*CLIPS.names).sort("dataset", "uri"))

    @cached_property
    def n_clips(self) -> int:
        """How many different recordings there are; copies count once."""
        return self._clip_ids.height

    @cached_property
    def streams(self) -> tuple[tuple[str, str], ...]:
        """Every (stream, fingerprint) that anything was extracted for."""
        pairs = self._extractions("stream", "fingerprint").unique().sort("stream", "fingerprint")
        return tuple((stream, fingerprint) for stream, fingerprint in pairs.iter_rows())

    def coverage(self) -> list[Coverage]:
        """One entry per stream and fingerprint, counted over the clips still listed."""
        found = []
        for stream, fingerprint in self.streams:
            status = self._live(stream, fingerprint, "status")["status"]
            n_ok = int((status == "ok").sum())
            found.append(Coverage(stream, fingerprint, self.n_clips, n_ok, status.len() - n_ok))
        return [entry for entry in found if entry.n_ok or entry.n_failed]

    def problems(self) -> pa.Table:
        """All that went wrong, one row a file, sorted by it.

        Columns: dataset, uri, clip_id (null where it could not be hashed), stream and fingerprint (null: at ingest),
        stage (ingest, decode or extract), kind, message, attempts, at.
        """
        clips = self._clips("dataset", "uri", "clip_id", "problem_kind", "problem", "ingested_at")
        at_ingest = clips.filter(pl.col("problem").is_not_null()).select(
            "dataset",
            "uri",
            "clip_id",
            stream=pl.lit(None, pl.String),
            fingerprint=pl.lit(None, pl.String),
            stage=pl.lit("ingest"),
            kind="problem_kind",
            message="problem",
            attempts=pl.lit(1, pl.Int32),
            at="ingested_at",
        )
        columns = ("clip_id", "stream", "fingerprint", "stage", "kind", "message", "attempts", "finished_at")
        failed = self._extractions(*columns, where={"status": "failed"}).rename({"finished_at": "at"})
        placed = failed.join(clips.select("dataset", "uri", "clip_id"), on="clip_id")
        return _to_arrow(
            pl.concat([at_ingest, placed.select(at_ingest.columns)]).sort("dataset", "uri", "stream", "fingerprint")
        )

    def outstanding(self, stream: str, fingerprint: str) -> pa.Table:
        """The clips without a good `ok` row for this stream and fingerprint, one row a clip_id, in its order.

        Columns: clip_id; root and uri, lists of every place the bytes lie; n_bytes, mtime_ns, duration_s (nullable);
        failure (the kind of an earlier failure, else null) and attempts; is_lost: there is an `ok` row, but its part is
        gone; was_replaced: other bytes lay at one of these places before; other_fingerprint: another fingerprint of
        the same stream that this clip has been extracted for (the newest), else null.
        """
        rows = self._extractions(
            "clip_id", "status", "kind", "attempts", "part_id",
            where={"stream": stream, "fingerprint": fingerprint},
        )  # fmt: skip
        there = pl.Series("part_id", list_parts(self.files, stream, fingerprint), pl.String).implode()
        rows = rows.with_columns(is_lost=(pl.col("status") == "ok") & ~pl.col("part_id").is_in(there))
        good = rows.filter(pl.col("status") == "ok", ~pl.col("is_lost")).select("clip_id")
        bad = rows.filter((pl.col("status") != "ok") | pl.col("is_lost"))
        lacking = self._clip_ids.join(good, on="clip_id", how="anti")
        if lacking.is_empty():
            clips = _places(pl.DataFrame(pl.from_arrow(CLIPS.empty_table())))
        elif lacking.height == self.n_clips:
            clips = self._all_places
        else:
            clips = self._all_places.join(lacking, on="clip_id", how="semi", maintain_order="left")
        failed = bad.select("clip_id", "attempts", "is_lost", failure="kind")
        return _to_arrow(
            clips.join(failed, on="clip_id", how="left", maintain_order="left")
            .join(self._other_fingerprints(stream, fingerprint), on="clip_id", how="left", maintain_order="left")
            .with_columns(pl.col("is_lost").fill_null(False))
        )

    def stream(self, name: str, fingerprint: str | None = None) -> StreamReader:
        """The stream `name`, with the fingerprint that was extracted last unless one is given.

        Raises InputError where the snapshot has no such stream, naming those it has.
        """
        where = {"stream": name, "status": "ok"} | ({} if fingerprint is None else {"fingerprint": fingerprint})
        columns = ("clip_id", "fingerprint", "finished_at", "part_id", "first_row", "n_rows")
        rows = self._extractions(*columns, where=where).join(self._clip_ids, on="clip_id", how="semi")
        if fingerprint is None and not rows.is_empty():
            fingerprint = str(rows.sort("finished_at", "fingerprint")["fingerprint"][-1])
            rows = rows.filter(pl.col("fingerprint") == fingerprint)
        if rows.is_empty():
            have = sorted({entry.stream for entry in self.coverage() if entry.n_ok})
            asked = name if fingerprint is None else f"{name} with fingerprint {fingerprint}"
            raise InputError(
                f"snapshot {self.id} has nothing of stream {asked}; it has {', '.join(have) or 'no features at all'}. "
                f"`timbrel extract --streams {name}` makes them"
            )
        assert fingerprint is not None
        return StreamReader(self.spec(name, fingerprint), self.files, _locations(rows))

    def spec(self, stream: str, fingerprint: str) -> StreamSpec:
        """The description that was written with the stream. Raises StoreError where it is lost or was changed."""
        return read_spec(self.files, stream, fingerprint)

    def label_embeddings(self, stream: str, fingerprint: str) -> LabelEmbeddings | None:
        """What the stream's model makes of labels, as it lies there now. Raises StoreError where it is damaged."""
        return read_label_embeddings(self.files, stream, fingerprint)

    def part_ids(self, stream: str, fingerprint: str) -> set[str]:
        """The parts of a stream that a row names."""
        where = {"stream": stream, "fingerprint": fingerprint}
        return set(self._extractions("part_id", where=where)["part_id"].drop_nulls().unique())

    def done(self, stream: str, fingerprint: str) -> set[str]:
        """The clips that a row says there are frames of."""
        where = {"stream": stream, "fingerprint": fingerprint, "status": "ok"}
        return set(self._extractions("clip_id", where=where)["clip_id"])

    def costs(self, stream: str, fingerprint: str) -> pl.DataFrame:
        """part_id, audio_s and elapsed_ms of every clip whose extraction was timed."""
        where = {"stream": stream, "fingerprint": fingerprint, "status": "ok"}
        return self._extractions("part_id", "audio_s", "elapsed_ms", where=where).drop_nulls()

    @cached_property
    def _clip_ids(self) -> pl.DataFrame:
        return self._clips("clip_id").drop_nulls().unique()

    @cached_property
    def _all_places(self) -> pl.DataFrame:
        """Where every clip lies; kept, because each stream of a plan asks for it."""
        return _places(self._clips(*_PLACE_COLUMNS).filter(pl.col("clip_id").is_not_null()))

    def _clips(self, *columns: str) -> pl.DataFrame:
        return self._clips_table.read(columns)

    def _extractions(self, *columns: str, where: Where = MappingProxyType({})) -> pl.DataFrame:
        return self._extractions_table.read(columns, where)

    @cached_property
    def _clips_table(self) -> TableAt:
        return TableAt(self.files.table_uri(CLIPS_KEY), self.clips_version, CLIPS)

    @cached_property
    def _extractions_table(self) -> TableAt:
        return TableAt(self.files.table_uri(EXTRACTIONS_KEY), self.extractions_version, EXTRACTIONS)

    def _live(self, stream: str, fingerprint: str, *columns: str) -> pl.DataFrame:
        """One stream's rows without those of clips no longer listed: their bytes were replaced under the same path."""
        where = {"stream": stream, "fingerprint": fingerprint}
        return self._extractions("clip_id", *columns, where=where).join(self._clip_ids, on="clip_id", how="semi")

    def _other_fingerprints(self, stream: str, fingerprint: str) -> pl.DataFrame:
        """clip_id, other_fingerprint: the newest other one that each clip has been extracted for."""
        rows = self._extractions("clip_id", "fingerprint", "finished_at", where={"stream": stream, "status": "ok"})
        return (
            rows.filter(pl.col("fingerprint") != fingerprint)
            .sort("finished_at", "fingerprint")
            .group_by("clip_id")
            .agg(other_fingerprint=pl.col("fingerprint").last())
        )


_PLACE_COLUMNS = ("clip_id", "root", "uri", "n_bytes", "mtime_ns", "duration_s", "replaced_clip_id")


def _places(clips: pl.DataFrame) -> pl.DataFrame:
    """One row a clip_id, in its order, with every place its bytes lie and what one of them says of the file."""
    return (
        clips.group_by("clip_id")
        .agg(
            "root",
            "uri",
            pl.col("n_bytes", "mtime_ns", "duration_s").first(),
            was_replaced=pl.col("replaced_clip_id").is_not_null().any(),
        )
        .sort("clip_id")
    )


def _locations(rows: pl.DataFrame) -> dict[str, Location]:
    columns = rows.sort("clip_id").select("clip_id", "part_id", "first_row", "n_rows")
    return {clip_id: Location(part, first, n) for clip_id, part, first, n in columns.iter_rows()}


def _to_arrow(frame: pl.DataFrame) -> pa.Table:
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
