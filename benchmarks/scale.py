"""How timbrel does on more machines than there are here: Dask, planning and commits for real, kernels as sleeps.

    python -m benchmarks.scale figures STORE...      what the streams cost, from the catalogue of a real store
    python -m benchmarks.scale workers               1 to 64 workers whose batches sleep as long as real ones work
    python -m benchmarks.scale clips                 a million clips' worth of batches whose kernels take no time
    python -m benchmarks.scale governor STORE        N processes on N cores against one, on a store's own recordings
    python -m benchmarks.scale predict               hours, cores, bytes and the bottleneck for the large datasets

Everything runs on loopback in one process but for `governor`: scheduler, workers and client then share one interpreter
lock, so that what is found is a lower bound of what separate machines do. docs/scale.md holds the tables.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
from distributed import Client, LocalCluster

import pipeline.execute
from features.registry import DEFAULT_STREAMS, spec_for
from pipeline.batches import BATCH_S, Batch, cut_batches
from pipeline.cluster import governor_of, local_cluster
from pipeline.commit import commit_receipts
from pipeline.execute import execute
from pipeline.extract import extract_batch
from pipeline.limits import TimeLimit
from pipeline.plan import ExtractionPlan, StreamPlan, plan_extraction
from storage_schema import open_store
from storage_schema.measured import measure
from storage_schema.store import Store
from storage_schema.tables import ClipRow, ExtractionRow

CLIP_S = 5.0
"""As long as those of ESC-50; a batch then holds 24."""

WORK_S = {"pitch": 0.015, "timbre": 0.017, "neural": 0.026, "waveform": 0.0035}
"""Seconds of one core a second of audio: `figures` on the 400 clips of ESC-10; docs/scale.md says when and where."""

BYTES = {"pitch": 2_848.0, "timbre": 10_600.0, "neural": 896.0, "waveform": 21_100.0}
"""Bytes a second of audio, by the same."""

BATCHES_PER_S = 125.0
"""What one core takes in that is scheduler, client, committer and all the workers at once, by `clips`."""

ROWS_PER_S = 3_000.0
"""The rows of those batches, by the same."""

DATASETS = {"FSD50K": (108.0, 7.6), "AudioSet": (5_800.0, 10.0), "a million hours": (1_000_000.0, 10.0)}
"""Hours, and seconds a clip."""


def made_up_plan(stream: str, n_clips: int) -> StreamPlan:
    """A plan for clips that do not exist."""
    ids = [f"{i:032x}" for i in range(n_clips)]
    wanted = pa.table(
        {
            "clip_id": pa.array(ids, pa.large_string()),
            "root": pa.array([["/audio"]] * n_clips),
            "uri": pa.array([[f"{i:09}.wav"] for i in range(n_clips)]),
            "n_bytes": pa.array([160_000] * n_clips),
            "mtime_ns": pa.array([1] * n_clips),
            "duration_s": pa.array([CLIP_S] * n_clips),
            "reason": pa.array(["new clip"] * n_clips),
            "is_lost": pa.array([False] * n_clips),
        }
    )
    return StreamPlan(spec_for(stream), n_clips, 0, 0, wanted)


def pretend(_store_uri: str, batch: Batch, _limit: TimeLimit) -> list[ExtractionRow]:
    """A batch as long as the real one, times `_scale`, and its receipts; no part is written."""
    audio_s = sum(clip.duration_s or 0.0 for clip in batch.clips)
    time.sleep(_scale[0] * WORK_S[batch.spec.stream] * audio_s)
    now = datetime.now(UTC)
    return [
        ExtractionRow.ok(
            clip.clip_id,
            batch.spec.stream,
            batch.spec.fingerprint,
            part_id="0" * 32,
            first_row=0,
            n_rows=200,
            audio_s=CLIP_S,
            elapsed_ms=1.0,
            finished_at=now,
        )
        for clip in batch.clips
    ]


_scale = [1.0]


@contextmanager
def made_up_cluster(n_workers: int) -> Iterator[Client]:
    """Workers that are threads of this process, each of one thread."""
    pipeline.execute.extract_batch = pretend  # type: ignore[attr-defined]
    pipeline.execute.run_on_worker = lambda _version, work, *rest: work(*rest)  # type: ignore[attr-defined, assignment]
    with (
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=False,
            memory_limit=0,  # each would else count the memory of the whole process as its own, and stop working
            dashboard_address="127.0.0.1:0",
            silence_logs=50,
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@dataclass(frozen=True)
class Simulated:
    """How a simulated extraction went: wall and CPU seconds of everything, batches, rows, seconds slept, commits."""

    n_workers: int
    wall_s: float
    cpu_s: float
    n_batches: int
    n_rows: int
    slept_s: float
    n_commits: int


def simulate(n_workers: int, n_clips: int, scale: float, streams: Sequence[str] = DEFAULT_STREAMS) -> Simulated:
    """The streams side by side over `n_clips` clips that take `scale` times as long as real ones."""
    _scale[0] = scale
    plans = [made_up_plan(stream, n_clips) for stream in streams]
    folder = Path(tempfile.mkdtemp(prefix="timbrel-"))
    try:
        store = open_store(folder / "store", create=True)
        before = store.snapshot().extractions_version
        with made_up_cluster(n_workers) as client:
            governor = governor_of(client)
            started, cpu = time.monotonic(), time.process_time()

            def run(plan: StreamPlan) -> list[int]:
                receipts = execute(client, store.uri, cut_batches(plan), governor=governor)
                return [len(receipt.rows) for receipt in commit_receipts(store, receipts)]

            with ThreadPoolExecutor(len(plans)) as threads:
                sizes = [size for found in threads.map(run, plans) for size in found]
            wall_s, cpu_s = time.monotonic() - started, time.process_time() - cpu
        n_commits = store.snapshot().extractions_version - before
    finally:
        shutil.rmtree(folder)
    slept_s = scale * CLIP_S * n_clips * sum(WORK_S[stream] for stream in streams)
    return Simulated(n_workers, wall_s, cpu_s, len(sizes), sum(sizes), slept_s, n_commits)


def show_workers(counts: Sequence[int], seconds: float) -> None:
    """1 to 64 workers, each with `seconds` of work of the real length."""
    print("| workers | batches | wall | slept | of the ideal | CPU of it all | commits |\n" + "|---" * 7 + "|")
    for n in counts:
        n_clips = max(24, round(n * seconds / (CLIP_S * sum(WORK_S.values()))))
        done = simulate(n, n_clips, 1.0)
        ideal = done.slept_s / n
        print(
            f"| {n} | {done.n_batches} | {done.wall_s:.1f} s | {done.slept_s:.0f} s | {ideal / done.wall_s:.2f} | "
            f"{done.cpu_s:.1f} s | {done.n_commits} |",
            flush=True,
        )


def show_clips(counts: Sequence[int], n_workers: int) -> None:
    """One stream's batches of ever more clips, kernels at no time: what scheduler, client and committer take alone."""
    print(
        "| clips | batches | wall | CPU | batches a s | batches a s of CPU | rows a s | commits |\n" + "|---" * 8 + "|"
    )
    for n in counts:
        done = simulate(n_workers, n, 0.0, ("pitch",))
        a_second, of_cpu, rows = done.n_batches / done.wall_s, done.n_batches / done.cpu_s, done.n_rows / done.wall_s
        print(
            f"| {n:,} | {done.n_batches:,} | {done.wall_s:.1f} s | {done.cpu_s:.1f} s | {a_second:.0f} | "
            f"{of_cpu:.0f} | {rows:,.0f} | {done.n_commits} |",
            flush=True,
        )


def show_figures(stores: Sequence[str]) -> None:
    """What each stream of these stores has cost."""
    print("| stream | work, s of a core a s of audio | bytes a s of audio | clips |\n|---|---|---|---|")
    for uri in stores:
        snapshot = open_store(uri).snapshot()
        for stream, fingerprint in snapshot.streams:
            found = measure(snapshot, stream, fingerprint)
            if found is not None:
                print(
                    f"| {stream} | {found.elapsed_s / found.audio_s:.4f} | {found.n_bytes / found.audio_s:,.0f} | "
                    f"{found.n_clips} |"
                )


def show_governor(uri: str, n_clips: int) -> None:
    """The first clips of a store extracted anew by 1 worker and by as many as cores, all that loads loaded before."""
    rows = open_store(uri).snapshot().clips.slice(0, n_clips).to_pylist()
    clips = [ClipRow(**{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()}) for row in rows]
    print(
        "| workers | wall, start-up left out | against one | CPU of the workers | against one |\n|---|---|---|---|---|"
    )
    walls: dict[int, float] = {}
    cpus: dict[int, float] = {}
    for n_workers in (1, os.cpu_count() or 1):
        with tempfile.TemporaryDirectory(prefix="timbrel-") as folder, local_cluster(n_workers) as client:
            store = open_store(Path(folder, "store"), create=True)
            store.merge_clips(clips)
            plan = plan_extraction(store.snapshot(), [spec_for(stream) for stream in DEFAULT_STREAMS])
            _warm_up(client, plan)
            before = sum(client.run(time.process_time).values())
            walls[n_workers] = _extract(client, store, plan)
            cpus[n_workers] = sum(client.run(time.process_time).values()) - before
        faster, dearer = walls[1] / walls[n_workers], cpus[n_workers] / cpus[1]
        wall, cpu = f"{walls[n_workers]:.1f} s", f"{cpus[n_workers]:.1f} s"
        print(f"| {n_workers} | {wall} | {faster:.2f} | {cpu} | {dearer:.2f} |", flush=True)


def _extract(client: Client, store: Store, plan: ExtractionPlan) -> float:
    """Wall seconds of the streams side by side, in small batches so that the last ones leave no core idle for long."""
    governor = governor_of(client)
    started = time.monotonic()

    def run(stream: StreamPlan) -> None:
        for _ in commit_receipts(
            store, execute(client, store.uri, cut_batches(stream, BATCH_S / 4), governor=governor)
        ):
            pass

    with ThreadPoolExecutor(len(plan.streams)) as threads:
        list(threads.map(run, plan.streams))
    return time.monotonic() - started


def _warm_up(client: Client, plan: ExtractionPlan) -> None:
    """Have every worker load every extractor, by one clip each."""
    with tempfile.TemporaryDirectory(prefix="timbrel-") as folder:
        for worker in client.scheduler_info()["workers"]:
            scratch = open_store(Path(folder, worker.rpartition(":")[2]), create=True)
            for stream in plan.streams:
                batch = Batch(stream.spec, stream.clips(0, 1))
                client.submit(extract_batch, scratch.uri, batch, workers=[worker], pure=False).result()


def show_predictions(core_counts: Sequence[int]) -> None:
    """Hours, cores, bytes and what holds the rest up, by a model that is linear but for its bottlenecks."""
    work, size = sum(WORK_S.values()), sum(BYTES.values())
    print("| dataset | cores | core-hours | hours | bytes | batches | rows | what holds it up |\n|" + "---|" * 8)
    for name, (hours, clip_s) in DATASETS.items():
        audio_s = hours * 3600
        n_batches, n_rows = len(WORK_S) * audio_s / BATCH_S, len(WORK_S) * audio_s / clip_s
        for cores in core_counts:
            limits = {
                "cores": work * audio_s / cores,
                "scheduler and client": n_batches / BATCHES_PER_S,
                "commits": n_rows / ROWS_PER_S,
            }
            slowest = max(limits, key=lambda what: limits[what])
            took_h, n_bytes = limits[slowest] / 3600, size * audio_s / 1e12
            print(
                f"| {name} | {cores:,} | {work * hours:,.0f} | {took_h:,.1f} | {n_bytes:.2f} TB | {n_batches:,.0f} | "
                f"{n_rows:,.0f} | {slowest} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("figures", "workers", "clips", "governor", "predict"))
    parser.add_argument("stores", nargs="*")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--counts", type=int, nargs="*")
    asked = parser.parse_args()
    if asked.what == "figures":
        show_figures(asked.stores)
    elif asked.what == "workers":
        show_workers(asked.counts or (1, 2, 4, 8, 16, 32, 64), asked.seconds)
    elif asked.what == "clips":
        show_clips(asked.counts or (10_000, 100_000, 1_000_000), 8)
    elif asked.what == "governor":
        show_governor(asked.stores[0], (asked.counts or [80])[0])
    else:
        show_predictions((2, 64, 1_000))


if __name__ == "__main__":
    main()
