"""A finished run once more: its recipe, its snapshot and its fingerprints, as its provenance names them."""

from dataclasses import dataclass

from storage_schema.errors import InputError
from storage_schema.progress import OnProgress, no_progress
from storage_schema.store import Store
from training.recipe import parse_recipe
from training.results import RunResult
from training.run import read_result, train


@dataclass(frozen=True)
class Repetition:
    """A run and its repetition."""

    first: RunResult
    again: RunResult

    @property
    def differences(self) -> list[str]:
        """The figures that are not the same to the last digit, such as `fusion accuracy 0.93 -> 0.92`."""
        metrics = {model.name: model.metrics for model in self.again.models}
        return [
            f"{model.name} {name} {figure.value} -> {metrics[model.name][name].value}"
            for model in self.first.models
            for name, figure in model.metrics.items()
            if metrics[model.name][name] != figure
        ]

    @property
    def changed_versions(self) -> list[str]:
        """The libraries that are not those of the first run, such as `torch 2.13.0 -> 2.14.0`."""
        before, after = self.first.provenance.versions, self.again.provenance.versions
        return [
            f"{name} {before.get(name, 'none')} -> {after.get(name, 'none')}"
            for name in sorted(before | after)
            if before.get(name) != after.get(name)
        ]


def repeat(
    store: Store,
    run_id: str,
    *,
    device: str = "auto",
    n_workers: int = 1,
    on_progress: OnProgress = no_progress,
) -> Repetition:
    """Fit and judge again what the run `run_id` did, however much the store has grown since, as a run of its own.

    Raises InputError where its snapshot has been removed (`timbrel gc` keeps those that runs name), StoreError where
    the run itself is damaged.
    """
    with store.open_run(run_id) as folder:
        first = read_result(folder)
    written = parse_recipe(first.provenance.recipe, f"the recipe of run {run_id}")
    if set(first.provenance.fingerprints) != set(written.data.streams):
        raise InputError(f"run {run_id} names the fingerprints of other streams than its recipe; it was edited")
    data = written.data.model_copy(update={"fingerprints": first.provenance.fingerprints})
    again = train(
        store,
        written.model_copy(update={"data": data}),
        snapshot=store.snapshot(first.provenance.snapshot),
        device=device,
        memory_bytes=first.provenance.memory_bytes,
        n_workers=n_workers,
        on_progress=on_progress,
    )
    return Repetition(first, again)
