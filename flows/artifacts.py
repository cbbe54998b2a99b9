"""What a run leaves on Prefect's page: live progress, coverage, quarantine, metrics, and a link to the report.

Prefect draws tables and texts as Markdown, and names of files and labels come from outside: every word of theirs is
escaped here, so that none becomes a link, a picture or HTML.
"""

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from flows.cli.output import printable, share
from flows.display import words_of
from storage_schema.progress import StreamProgress
from storage_schema.snapshot import Snapshot
from training.results import RunResult

_UPDATE_EVERY_S = 5.0
"""An update is a request of some 20 ms; a person looks less often."""

_MOST_ROWS = 200
"""Of the quarantine that are shown; `timbrel quarantine list` shows all."""

_MARKUP = re.compile(r"([\\`*_{}\[\]()#+!|<>&~$:-])")


class LiveProgress:
    """The progress artifact of one stream."""

    def __init__(self, store_uri: str, stream: str) -> None:
        self._key = artifact_key(f"progress-{stream}", store_uri)
        self._id: UUID | None = None
        self._next_s = 0.0

    def update(self, progress: StreamProgress) -> None:
        """Show `progress`; now and then, and always its end."""
        is_end = progress.n_done >= progress.n_total
        if time.monotonic() < self._next_s and not is_end:
            return
        percent = 100 * progress.n_done / max(1, progress.n_total)
        words = f"{progress.stream}: {words_of(progress)}"
        if self._id is None:
            self._id = cast(UUID, create_progress_artifact(percent, key=self._key, description=words))
        else:
            update_progress_artifact(self._id, percent, description=words)
        self._next_s = time.monotonic() + _UPDATE_EVERY_S


def show_coverage(store_uri: str, state: Snapshot) -> None:
    """A table of the streams: how many of the clips have each."""
    rows = [
        {
            "stream": entry.stream,
            "fingerprint": entry.fingerprint[:8],
            "clips": entry.n_clips,
            "done": entry.n_ok,
            "failed": entry.n_failed,
            "missing": entry.n_missing,
        }
        for entry in state.coverage()
    ]
    _table("coverage", store_uri, rows, f"Snapshot {state.id}: how many clips have each stream.")


def show_quarantine(store_uri: str, state: Snapshot) -> None:
    """A table of what failed, and why."""
    problems = state.problems().to_pylist()
    columns = ("uri", "stream", "stage", "kind", "attempts", "message")
    rows = [{name: problem[name] for name in columns} for problem in problems[:_MOST_ROWS]]
    words = "Nothing is in quarantine." if not problems else f"{len(problems)} failures; the same clips are left alone."
    if len(problems) > _MOST_ROWS:
        words += f" The first {_MOST_ROWS} are shown, `timbrel quarantine list` shows all."
    _table("quarantine", store_uri, rows, words)


def show_metrics(store_uri: str, result: RunResult) -> None:
    """A table of the models of a run, by the metric that decides."""
    rows = [
        {
            "model": model.name,
            "parameters": model.n_parameters,
            f"{result.headline} [95 %]": share(model.metrics.get(result.headline)),
            "seconds": round(model.seconds, 1),
        }
        for model in result.models
    ]
    _table("metrics", store_uri, rows, f"Run {result.run_id}, tested on {result.n_test} clips.")


def show_report(store_uri: str, uri: str) -> None:
    """A link to the report of a run."""
    link = uri if "://" in uri else Path(uri).absolute().as_uri()
    create_link_artifact(link, "report.html", key=artifact_key("report", store_uri), description=plain(uri))


def show_summary(store_uri: str, lines: Sequence[str]) -> None:
    """What a run did, a line each."""
    text = "\n".join(f"- {plain(line)}" for line in lines)
    create_markdown_artifact(text, key=artifact_key("summary", store_uri), description="What this run did.")


def artifact_key(what: str, store_uri: str) -> str:
    """The key of an artifact: a kind and a store have one history in Prefect."""
    name = re.sub("[^a-z0-9]+", "-", store_uri.rstrip("/").rpartition("/")[2].lower()).strip("-")
    return f"{what}-{name}" if name else what


def plain(text: str) -> str:
    """`text` as Markdown that shows as it is."""
    return _MARKUP.sub(r"\\\1", printable(text))


def _table(what: str, store_uri: str, rows: Sequence[dict[str, Any]], description: str) -> None:
    shown = [{name: plain(cell) if isinstance(cell, str) else cell for name, cell in row.items()} for row in rows]
    create_table_artifact(shown, key=artifact_key(what, store_uri), description=description)
