"""The arrow diagram as one flow: ingest, extract, train."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect import flow

from features.registry import DEFAULT_STREAMS
from flows.extract import extract
from flows.ingest import ingest_task
from flows.train import train_and_report
from pipeline.cluster_settings import HERE, ClusterSettings
from pipeline.extraction import ExtractionReport
from pipeline.ingest import IngestReport
from pipeline.locations import Location
from storage_schema.fingerprint import Json
from training.results import RunResult


@dataclass(frozen=True)
class WholeReport:
    """What each stage said; `training` is None where no recipe was given."""

    ingest: IngestReport
    extraction: ExtractionReport
    training: RunResult | None


@flow(name="timbrel", validate_parameters=False)
def whole_flow(
    store_uri: str,
    kind: str,
    root: Location,
    recipe: Path | None = None,
    dataset: str | None = None,
    streams: Sequence[str] = DEFAULT_STREAMS,
    parameters: Mapping[str, Mapping[str, Json]] | None = None,
    n_workers: int | None = None,
    device: str = "auto",
    cluster: ClusterSettings = HERE,
    settings: Sequence[str] = (),
) -> WholeReport:
    """From a folder of recordings to a trained, reported model; what is done already is not done again.

    settings: what takes the place of the recipe's own, see `training.recipe.load_recipe`.
    """
    ingested = ingest_task(store_uri, kind, root, dataset)
    extracted = extract(store_uri, streams, parameters, n_workers, cluster)
    trained = train_and_report(store_uri, recipe, device, settings=settings) if recipe is not None else None
    return WholeReport(ingested, extracted, trained)
