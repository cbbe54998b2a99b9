"""clips -> batches -> Zarr parts and extractions: the extraction stage as a Prefect flow.

One Prefect task drives one Dask cluster; the batches are Dask's, because a task a batch would make Prefect the
bottleneck, and its task runner repeats finished work when a worker dies.
"""

from collections.abc import Mapping, Sequence

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from features.registry import DEFAULT_STREAMS, spec_for
from flows.display import on_progress
from pipeline.extraction import ExtractionReport, run_extraction
from pipeline.labels import write_labels
from pipeline.plan import plan_extraction
from storage_schema.fingerprint import Json
from storage_schema.store import open_store


@task(name="extract", cache_policy=NO_CACHE)
def extract_task(
    store_uri: str, streams: Sequence[str], parameters: Mapping[str, Mapping[str, Json]], n_workers: int | None
) -> ExtractionReport:
    """Plan what is missing and extract it."""
    store = open_store(store_uri)
    specs = [spec_for(stream, parameters.get(stream)) for stream in streams]
    plan = plan_extraction(store.snapshot(), specs)
    report = run_extraction(store, plan, n_workers=n_workers, on_progress=on_progress)
    write_labels(store, specs)
    return report


@flow(name="timbrel-extract", validate_parameters=False)
def extract_flow(
    store_uri: str,
    streams: Sequence[str] = DEFAULT_STREAMS,
    parameters: Mapping[str, Mapping[str, Json]] | None = None,
    n_workers: int | None = None,
) -> ExtractionReport:
    """Extract every stream of `streams` for every clip that lacks it, on a local Dask cluster."""
    return extract_task(store_uri, streams, parameters or {}, n_workers)
