"""audio -> clips: the ingest stage as a Prefect flow."""

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.display import on_progress
from pipeline.ingest import IngestReport, ingest
from pipeline.locations import Location
from storage_schema.store import open_store


@task(name="ingest", cache_policy=NO_CACHE)
def ingest_task(store_uri: str, kind: str, root: Location, dataset: str | None) -> IngestReport:
    """Bring the catalogue up to what the folder holds."""
    return ingest(open_store(store_uri, create=True), kind, root, dataset=dataset, on_progress=on_progress)


@flow(name="timbrel-ingest", validate_parameters=False)
def ingest_flow(store_uri: str, kind: str, root: Location, dataset: str | None = None) -> IngestReport:
    """Find new and changed recordings below `root` and write them into the catalogue of the store."""
    return ingest_task(store_uri, kind, root, dataset)
