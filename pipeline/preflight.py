"""Before anything is sent to workers that somebody else started: whether they can do the work, and do it the same.

Each worker answers for itself: its version of timbrel, its threads, the fingerprints it would make, and whether it sees
the store and the recordings. What is wrong is told once, with the worker's name, before anything is written.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from features.registry import spec_for
from pipeline.cluster_settings import GPU, ClusterSettings
from pipeline.locations import is_on_s3
from pipeline.plan import ExtractionPlan
from pipeline.worker import timbrel_version
from storage_schema.errors import InputError, TimbrelError
from storage_schema.fingerprint import Json
from storage_schema.layout import MARKER
from storage_schema.store import Store, open_store


def check_workers(client: Any, store: Store, plan: ExtractionPlan, cluster: ClusterSettings) -> None:
    """Raise InputError where a worker of `client` could not do its share of `plan`, naming it and the remedy.

    A running cluster, which nobody makes larger, must also offer what the plan's streams ask for.
    """
    asked = {stream.spec.stream: dict(stream.spec.parameters) for stream in plan.streams if stream.n_wanted}
    answers = client.run(_answer, store.uri, asked, _places(plan), on_error="return")
    own = _answer(store.uri, asked, {})
    threads = client.nthreads()
    for address, answer in answers.items():
        problem = _problem(answer, own, threads.get(address, 1))
        if problem:
            raise InputError(f"worker {address} {problem}")
    if cluster.scheduler is not None:
        _check_resources(client, [name for name in asked if cluster.resource_of(name)])


def _check_resources(client: Any, streams: Sequence[str]) -> None:
    workers = client.scheduler_info()["workers"].values()
    if streams and not any(worker.get("resources", {}).get(GPU) for worker in workers):
        raise InputError(
            f"no worker offers the Dask resource {GPU}, wanted for {', '.join(streams)}; start one with "
            f"`dask worker --resources {GPU}=1`, or take them out of gpu_streams"
        )


def _answer(store_uri: str, asked: Mapping[str, Mapping[str, Json]], places: Mapping[str, str]) -> dict[str, Any]:
    """What a worker says of itself; runs there, beside whatever it is doing.

    places: by root, one recording that should be seen.
    """
    fingerprints: dict[str, str] = {}
    for stream, parameters in asked.items():
        try:
            fingerprints[stream] = spec_for(stream, parameters).fingerprint
        except (TimbrelError, OSError) as error:
            fingerprints[stream] = f"none: {error}"
    try:
        store_mark = open_store(store_uri).files.read(MARKER).decode()
    except (TimbrelError, OSError):
        store_mark = None
    return {
        "version": timbrel_version(),
        "fingerprints": fingerprints,
        "store": store_uri,
        "mark": store_mark,
        "unseen": [root for root, path in places.items() if not Path(path).exists()],
    }


def _problem(answer: Any, own: Mapping[str, Any], n_threads: int) -> str | None:
    """What keeps a worker that gave `answer` from working, None where nothing does; the first that applies."""
    if isinstance(answer, BaseException):
        return (
            f"cannot run timbrel ({type(answer).__name__}: {answer}); install timbrel {own['version']} there, in the "
            "Python that runs `dask worker`"
        )
    theirs = answer["fingerprints"]
    other = [stream for stream, fingerprint in own["fingerprints"].items() if theirs[stream] != fingerprint]
    problems = {
        f"has timbrel {answer['version']}, this is {own['version']}; install the same one on both": (
            answer["version"] != own["version"]
        ),
        f"runs {n_threads} threads; start it with `dask worker --nthreads 1`, and as many workers as cores": (
            n_threads != 1
        ),
        f"would make other numbers of {', '.join(f'{stream} ({theirs[stream]})' for stream in other)}; give it the "
        "same timbrel and the same weights": bool(other),
        f"does not see the store at {own['store']}; mount it there under the same path, or use s3://": (
            answer["mark"] != own["mark"]
        ),
        f"does not see the recordings below {', '.join(answer['unseen'])}; mount them there under the same path": bool(
            answer["unseen"]
        ),
    }
    return next((problem for problem, applies in problems.items() if applies), None)


def _places(plan: ExtractionPlan) -> dict[str, str]:
    """One recording that is there now for each local root of the plan's clips."""
    places: dict[str, str] = {}
    for stream in plan.streams:
        for clip_roots, uris in zip(_head(stream.wanted, "root"), _head(stream.wanted, "uri"), strict=True):
            for root, uri in zip(clip_roots, uris, strict=True):
                path = Path(root, uri)
                if root not in places and not is_on_s3(root) and path.exists():
                    places[root] = str(path)
    return places


def _head(table: Any, column: str) -> list[list[str]]:
    """The column's first rows: enough to meet every root there is, where there are not thousands."""
    rows: list[list[str]] = table[column].slice(0, 1000).to_pylist()
    return rows
