"""model -> metrics: a run scored again, and a new run weighed against the one in use, as Prefect tasks and a flow."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.artifacts import show_metrics
from flows.display import on_progress, served_progress
from flows.parameters import RunId, StoreUri, described
from storage_schema.errors import InputError
from storage_schema.promotion import Promotion, read_promotion, write_promotion
from storage_schema.store import open_store
from training.results import RunResult

if TYPE_CHECKING:
    from training.versus import Versus


@task(name="evaluate", cache_policy=NO_CACHE)
def evaluate_task(store_uri: str, run: str) -> RunResult:
    """Score a run's models again, from its checkpoints and the features in the store."""
    from training.run import evaluate

    result = evaluate(open_store(store_uri), run, on_progress=on_progress)
    show_metrics(store_uri, result)
    return result


@task(name="weigh", cache_policy=NO_CACHE)
def weigh_task(store_uri: str, new_run: str, old_run: str) -> "Versus":
    """The new run against the one in use, on the test clips of both."""
    from training.versus import weigh

    return weigh(open_store(store_uri), new_run, old_run)


@task(name="promote", cache_policy=NO_CACHE)
def promote_task(store_uri: str, dataset: str, run: str, state: str) -> Promotion:
    """Put `run` in use for `dataset` where it is not worse than the run that is; what is in use now, and why."""
    store = open_store(store_uri)
    now = read_promotion(store.files, dataset)
    in_use, why = run, "it is the first"
    if now is not None and store.has_run(now.run_id):
        try:
            versus = weigh_task(store_uri, run, now.run_id)
        except InputError as error:
            in_use, why = now.run_id, f"{run} could not be weighed against it: {error}"
        else:
            in_use, why = (run, versus.sentence) if versus.is_not_worse else (now.run_id, f"{run}: {versus.sentence}")
    elif now is not None:
        why = f"run {now.run_id}, which was in use, is gone"
    promotion = Promotion(dataset, in_use, run, state, why, datetime.now(UTC).isoformat(timespec="seconds"))
    write_promotion(store.files, promotion)
    return promotion


@flow(name="timbrel-evaluate")
@described
def evaluate_flow(store: StoreUri, run: RunId) -> RunResult:
    """Score a finished run's models again, from its checkpoints and the features in the store."""
    with served_progress():
        return evaluate_task(store, run)
