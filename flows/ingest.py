"""audio -> clips: the ingest stage as a Prefect task, and as a flow of its own."""

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.display import on_progress, served_progress
from flows.parameters import DatasetName, Kind, Root, StoreUri, described
from flows.retries import RETRIES, RETRY_AFTER_S, can_pass_again
from pipeline.ingest import IngestReport, ingest
from pipeline.locations import Location
from storage_schema.store import open_store


@task(
    name="ingest",
    cache_policy=NO_CACHE,
    retries=RETRIES,
    retry_delay_seconds=RETRY_AFTER_S,
    retry_condition_fn=can_pass_again,
)
def ingest_task(store_uri: str, kind: str, root: Location, dataset: str | None) -> IngestReport:
    """Bring the catalogue up to what the folder holds."""
    return ingest(open_store(store_uri, create=True), kind, root, dataset=dataset, on_progress=on_progress)


@flow(name="timbrel-ingest")
@described
def ingest_flow(store: StoreUri, root: Root, kind: Kind = "folder", dataset: DatasetName = None) -> IngestReport:
    """Find new and changed recordings and write them into the catalogue of the store."""
    with served_progress():
        return ingest_task(store, kind, root, dataset)
