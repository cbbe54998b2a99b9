"""Parts that are whole but that no row names: what a killed run had finished and not yet committed.

Extraction adopts them before it starts, so that no batch is ever computed twice for want of a commit.
"""

from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime

from storage_schema.errors import StoreError
from storage_schema.files import Files
from storage_schema.parts import Part, check_part, list_parts, read_audio_s, read_index, renew
from storage_schema.streams import StreamSpec
from storage_schema.tables import ExtractionRow


def rows_of_part(part: Part) -> list[ExtractionRow]:
    """The rows that a part would have in `extractions`, by its own account. Raises StoreError where it is damaged."""
    index = read_index(part)
    audio_s: Sequence[float | None] = read_audio_s(part) or [None] * len(index)
    return [
        ExtractionRow.ok(
            entry.clip_id,
            part.spec.stream,
            part.spec.fingerprint,
            part_id=part.part_id,
            first_row=entry.first_row,
            n_rows=entry.n_rows,
            audio_s=seconds,
            elapsed_ms=None,
            finished_at=datetime.now(UTC),
        )
        for entry, seconds in zip(index, audio_s, strict=True)
    ]


def adoptable(part: Part, done: Collection[str]) -> list[ExtractionRow]:
    """The rows of a part's clips that are not among `done`. Raises StoreError where it is damaged."""
    return [row for row in rows_of_part(part) if row.clip_id not in done]


def orphans(files: Files, spec: StreamSpec, named: set[str], done: set[str]) -> Iterator[list[ExtractionRow]]:
    """The rows to add for each part of a stream whose id is not among `named`; a damaged one is passed over.

    done: the clips that have frames already. A part with nothing else, such as `timbrel compact` leaves, is not read.
    """
    for part_id in list_parts(files, spec.stream, spec.fingerprint):
        part = Part(files, spec, part_id)
        try:
            rows = [] if part_id in named else adoptable(part, done)
        except StoreError:
            continue
        if rows and check_part(part) is None:
            renew(part)  # so that no `timbrel gc` takes it away before the rows are committed
            yield rows
