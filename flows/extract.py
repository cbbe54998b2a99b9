"""clips -> batches -> Zarr parts and extractions: the streams side by side, one Prefect task each, on one Dask cluster.

Each task drives the shared cluster from a thread of its own; the batches are Dask's, because a task a batch would make
Prefect the bottleneck, and its Dask task runner repeats finished work when a worker dies.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import wait
from prefect.utilities.annotations import opaque

from features.registry import spec_for
from flows.artifacts import LiveProgress, show_coverage, show_quarantine
from flows.display import on_progress, on_stream, served_progress
from flows.parameters import (
    FOUR_STREAMS,
    Scheduler,
    SettingsFile,
    StoreUri,
    StreamParameters,
    Streams,
    Workers,
    described,
)
from flows.retries import RETRIES, RETRY_AFTER_S, can_pass_again
from flows.settings import cluster_settings
from pipeline.cluster_settings import HERE, ClusterSettings
from pipeline.extraction import ExtractionReport, start_extraction
from pipeline.labels import write_labels
from pipeline.plan import plan_extraction
from storage_schema.fingerprint import Json
from storage_schema.progress import StreamProgress
from storage_schema.store import open_store


@task(
    name="extract",
    task_run_name="extract {stream}",
    cache_policy=NO_CACHE,
    retries=RETRIES,
    retry_delay_seconds=RETRY_AFTER_S,
    retry_condition_fn=can_pass_again,
)
def extract_task(job: Any, stream: str, store_uri: str) -> StreamProgress:
    """Extract one stream of the `Extraction`, and show how far it is."""
    live = LiveProgress(store_uri, stream)

    def show(progress: StreamProgress) -> None:
        on_stream(progress)
        live.update(progress)

    done: StreamProgress = job.run(stream, show)
    return done


def extract(
    store_uri: str,
    streams: Sequence[str],
    parameters: Mapping[str, Mapping[str, Json]] | None = None,
    n_workers: int | None = None,
    cluster: ClusterSettings = HERE,
) -> ExtractionReport:
    """Extract every stream of `streams` for every clip that lacks it. Called within a flow."""
    store = open_store(store_uri)
    specs = [spec_for(stream, (parameters or {}).get(stream)) for stream in streams]
    plan = plan_extraction(store.snapshot(), specs)
    with start_extraction(store, plan, cluster=cluster, n_workers=n_workers, on_progress=on_progress) as job:
        running = [extract_task.submit(opaque(job), stream, store_uri) for stream in job.streams]
        wait(running)
        for each in running:
            each.result()
        report = job.report()
    write_labels(store, specs)
    state = store.snapshot()
    show_coverage(store_uri, state)
    show_quarantine(store_uri, state)
    return report


@flow(name="timbrel-extract")
@described
def extract_flow(
    store: StoreUri,
    streams: Streams = FOUR_STREAMS,
    parameters: StreamParameters = {},  # noqa: B006 - Prefect shows the default in its form, and never changes it
    workers: Workers = None,
    scheduler: Scheduler = None,
    settings: SettingsFile = None,
) -> ExtractionReport:
    """Extract what is missing, the streams side by side."""
    with served_progress():
        return extract(store, streams, parameters, workers, cluster_settings(scheduler, settings))
