"""snapshot -> windows -> model -> metrics -> report: the training stage as Prefect tasks, and as a flow of its own.

Torch is imported only when something is trained: a night without news is over before torch would be loaded.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from flows.artifacts import show_metrics, show_report
from flows.display import on_progress, served_progress
from flows.parameters import Device, StoreUri, described
from flows.retries import RETRIES, RETRY_AFTER_S, can_pass_again
from storage_schema.store import open_store
from training.results import RunResult

if TYPE_CHECKING:
    from storage_schema.snapshot import Snapshot


@task(
    name="train",
    cache_policy=NO_CACHE,
    retries=RETRIES,
    retry_delay_seconds=RETRY_AFTER_S,
    retry_condition_fn=can_pass_again,
)
def train_task(
    store_uri: str, recipe: Path, device: str, snapshot_id: str | None = None, settings: Sequence[str] = ()
) -> RunResult:
    """Fit every model of the recipe, score it on the test clips, and write the run's folder."""
    from training.recipe import load_recipe
    from training.run import train
    from training.workers import n_cores

    store = open_store(store_uri)
    pinned: Snapshot = store.snapshot(snapshot_id)
    return train(
        store,
        load_recipe(recipe, settings),
        snapshot=pinned,
        device=device,
        n_workers=n_cores(),
        on_progress=on_progress,
    )


@task(name="report", cache_policy=NO_CACHE)
def report_task(store_uri: str, result: RunResult) -> str:
    """Write the run's report.html; where it lies."""
    from training.report import write_report

    uri = write_report(open_store(store_uri), result)
    show_metrics(store_uri, result)
    show_report(store_uri, uri)
    return uri


def train_and_report(
    store_uri: str,
    recipe: Path,
    device: str = "auto",
    snapshot_id: str | None = None,
    settings: Sequence[str] = (),
) -> RunResult:
    """Fit and evaluate what the recipe says, with `settings` in place of its own, from the store's features alone.

    Called within a flow.
    """
    result = train_task(store_uri, recipe, device, snapshot_id, settings)
    report_task(store_uri, result)
    return result


@flow(name="timbrel-train")
@described
def train_flow(
    store: StoreUri,
    recipe: Annotated[str, Field(min_length=1, description="A TOML file that says what to train.")],
    device: Device = "auto",
) -> RunResult:
    """Fit and evaluate what the recipe says, from the features in the store alone."""
    with served_progress():
        return train_and_report(store, Path(recipe), device)


def report_path(store_uri: str, result: RunResult) -> str:
    """Where the report of a finished run lies."""
    return open_store(store_uri).run_uri(result.run_id, "report.html")
