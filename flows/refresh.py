"""The whole, every night: ingest -> extract -> train -> evaluate -> promote, where there is something to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect import flow

from features.registry import DEFAULT_STREAMS
from flows.artifacts import show_summary
from flows.display import served_progress
from flows.evaluate import promote_task
from flows.extract import extract
from flows.ingest import ingest_task
from flows.parameters import (
    FOUR_STREAMS,
    DatasetName,
    Device,
    Kind,
    RecipeFile,
    Root,
    Scheduler,
    SettingsFile,
    StoreUri,
    StreamParameters,
    Streams,
    Workers,
    described,
)
from flows.settings import cluster_settings
from flows.train import train_and_report
from pipeline.cluster_settings import HERE, ClusterSettings
from pipeline.extraction import ExtractionReport
from pipeline.ingest import IngestReport
from pipeline.locations import Location
from storage_schema.fingerprint import Json
from storage_schema.promotion import Promotion, read_promotion
from storage_schema.store import open_store
from training.results import RunResult


@dataclass(frozen=True)
class RefreshReport:
    """What each stage said. `training` is None where nothing was to be learned, or no recipe was given.

    promotion: which run is in use now, None without a recipe.
    """

    ingest: IngestReport
    extraction: ExtractionReport
    training: RunResult | None = None
    promotion: Promotion | None = None

    @property
    def is_complete(self) -> bool:
        """Whether no clip failed."""
        return self.extraction.is_complete and self.ingest.n_problems == 0

    def sentences(self) -> list[str]:
        """What was done, a sentence a stage."""
        found = self.ingest
        computed = ", ".join(f"{n:,} {stream}" for stream, n in self.extraction.n_ok.items() if n) or "nothing"
        said = [
            f"ingest: {found.dataset}, {found.n_listed:,} files, {found.n_new:,} new, {found.n_changed:,} changed",
            f"extract: {computed}; {sum(self.extraction.n_failed.values()):,} failed",
        ]
        if self.promotion is None:
            return [*said, "train: no recipe was given"]
        if self.training is None:
            return [*said, f"train: nothing new to learn; in use: {self.promotion.run_id}"]
        verb = "promoted" if self.promotion.run_id == self.training.run_id else "not promoted"
        return [
            *said,
            f"train: run {self.training.run_id}, {verb}; in use: {self.promotion.run_id}; {self.promotion.why}",
        ]


@flow(name="timbrel-refresh")
@described
def refresh_flow(
    store: StoreUri,
    root: Root,
    kind: Kind = "folder",
    recipe: RecipeFile = None,
    dataset: DatasetName = None,
    streams: Streams = FOUR_STREAMS,
    parameters: StreamParameters = {},  # noqa: B006 - Prefect shows the default in its form, and never changes it
    workers: Workers = None,
    scheduler: Scheduler = None,
    settings: SettingsFile = None,
    device: Device = "auto",
) -> RefreshReport:
    """Bring a store up to date with a folder of recordings, and its model up to date with the store."""
    with served_progress():
        cluster = cluster_settings(scheduler, settings)
        found = None if recipe is None else Path(recipe)
        return refresh(store, root, kind, found, dataset, streams, parameters, workers, cluster, device)


def refresh(
    store_uri: str,
    root: Location,
    kind: str = "folder",
    recipe: Path | None = None,
    dataset: str | None = None,
    streams: Sequence[str] = DEFAULT_STREAMS,
    parameters: Mapping[str, Mapping[str, Json]] | None = None,
    n_workers: int | None = None,
    cluster: ClusterSettings = HERE,
    device: str = "auto",
) -> RefreshReport:
    """The stages one after another. Called within a flow, so that every task is one of its own."""
    ingested = ingest_task(store_uri, kind, root, dataset)
    extracted = extract(store_uri, streams, parameters, n_workers, cluster)
    report = RefreshReport(ingested, extracted)
    if recipe is not None:
        report = RefreshReport(ingested, extracted, *_learn(store_uri, recipe, device))
    show_summary(store_uri, report.sentences())
    return report


def _learn(store_uri: str, recipe: Path, device: str) -> tuple[RunResult | None, Promotion]:
    """Train where the snapshot holds anything new for this recipe, and promote what is not worse."""
    from training.recipe import load_recipe
    from training.state import training_state

    store = open_store(store_uri)
    snapshot, loaded = store.snapshot(), load_recipe(recipe)
    state = training_state(snapshot, loaded)
    now = read_promotion(store.files, loaded.data.dataset)
    if now is not None and now.state == state and store.has_run(now.run_id):
        return None, now
    result = train_and_report(store_uri, recipe, device, snapshot.id)
    return result, promote_task(store_uri, loaded.data.dataset, result.run_id, state)
