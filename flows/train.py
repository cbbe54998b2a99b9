"""snapshot -> windows -> model -> metrics -> report: the training stage as a Prefect flow."""

from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.display import on_progress
from storage_schema.store import open_store
from training.recipe import load_recipe
from training.report import write_report
from training.report.report import REPORT_NAME
from training.results import RunResult
from training.run import train


@task(name="train", cache_policy=NO_CACHE)
def train_task(store_uri: str, recipe: Path, device: str) -> RunResult:
    """Fit every model of the recipe, score it on the test clips, and write the run's folder."""
    store = open_store(store_uri)
    return train(store, load_recipe(recipe), snapshot=store.snapshot(), device=device, on_progress=on_progress)


@task(name="report", cache_policy=NO_CACHE)
def report_task(store_uri: str, result: RunResult) -> str:
    """Write the run's report.html; where it lies."""
    return write_report(open_store(store_uri), result)


@flow(name="timbrel-train", validate_parameters=False)
def train_flow(store_uri: str, recipe: Path, device: str = "auto") -> RunResult:
    """Fit and evaluate what the recipe says, from the features in the store alone."""
    result = train_task(store_uri, recipe, device)
    report_task(store_uri, result)
    return result


def report_path(store_uri: str, result: RunResult) -> str:
    """Where the report of a finished run lies."""
    return open_store(store_uri).run_uri(result.run_id, REPORT_NAME)
