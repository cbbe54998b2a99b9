"""Clusters that somebody else started: real `dask scheduler` and `dask worker` processes that speak TCP."""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import pipeline.cluster
import pipeline.execute
from features.registry import spec_for
from pipeline.cluster_settings import ClusterSettings
from pipeline.extract import extract_batch
from pipeline.extraction import run_extraction
from pipeline.ingest import ingest
from pipeline.plan import plan_extraction
from pipeline.preflight import check_workers
from storage_schema import open_store
from storage_schema.errors import InputError, UnreachableError
from tests.pipeline.conftest import WAVEFORM, write_sine
from tests.s3 import _free_ports

DASK = str(Path(sys.executable).with_name("dask"))
ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow  # about 35 s together: processes that import distributed


class Cluster:
    """A scheduler, and the workers that were started for it, by name."""

    def __init__(self, stack_folder):
        self.folder = stack_folder
        (self.port,) = _free_ports(1)
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.processes = {}
        self._start("scheduler", "scheduler", "--host", "127.0.0.1", "--port", self.port, "--no-dashboard")

    def start_worker(self, name, *words, **environment):
        common = ("--no-dashboard", "--name", name, "--host", "127.0.0.1", "--local-directory", self.folder)
        threads = () if "--nthreads" in words else ("--nthreads", "1")
        self._start(name, "worker", self.address, *common, *threads, *words, **environment)

    def kill(self, name):
        """The worker and its nanny at once, as a machine that is switched off."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self):
        for name in [*self.processes]:
            self.kill(name)

    def _start(self, name, *words, **environment):
        paths = {"PYTHONPATH": os.pathsep.join([*filter(None, [environment.pop("PYTHONPATH", None)]), str(ROOT)])}
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [DASK, *map(str, words)],
                env=os.environ | paths | environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


@contextmanager
def running(folder):
    cluster = Cluster(folder)
    try:
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture
def many(tmp_path):
    """A store that knows 40 sines."""
    for i in range(40):
        write_sine(tmp_path / "many" / "sines" / f"{i}.wav", 100 + 50 * i, 0.2 + i / 200)
    return filled(tmp_path / "store", tmp_path / "many")


def filled(path, audio):
    store = open_store(path, create=True)
    ingest(store, "folder", audio)
    return store


def extract_slowly(notes, store_uri, batch, limit):
    """`extract_batch`, slow enough to be disturbed, which leaves its stream and process number."""
    with notes.open("a") as file:
        file.write(f"{batch.spec.stream} {os.getpid()}\n")
    time.sleep(0.15)
    return extract_batch(store_uri, batch, limit)


def test_cluster_that_loses_a_worker_and_gains_one_fills_the_store_of_a_single_process(many, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline.execute, "extract_batch", partial(extract_slowly, tmp_path / "notes"))
    with running(tmp_path) as cluster:
        cluster.start_worker("one")
        cluster.start_worker("two")

        def disturb(progress):
            if progress.n_done >= 6 and "two" in cluster.processes:
                cluster.kill("two")
                cluster.start_worker("three")
            elif progress.n_done >= 12 and "two" not in cluster.processes:
                for _ in range(300):  # the batches left wait until the third one has begun
                    if len(workers_of(tmp_path / "notes")) >= 3:
                        break
                    time.sleep(0.1)

        plan = plan_extraction(many.snapshot(), [WAVEFORM])
        settings = ClusterSettings(scheduler=cluster.address)
        report = run_extraction(many, plan, cluster=settings, batch_s=0.3, on_stream=disturb)
    assert (report.n_ok, report.n_failed) == ({"waveform": 40}, {"waveform": 0})
    assert len(workers_of(tmp_path / "notes")) == 3

    alone = filled(tmp_path / "alone", tmp_path / "many")
    for batch in pipeline.extraction.cut_batches(plan_extraction(alone.snapshot(), [WAVEFORM]).streams[0], 0.3):
        alone.commit(extract_batch(alone.uri, batch))
    assert contents(many) == contents(alone)


def workers_of(notes):
    return {line.split()[1] for line in notes.read_text().splitlines()}


def contents(store):
    """Every clip's bytes."""
    stream = store.snapshot().stream("waveform")
    return {clip_id: np.ascontiguousarray(stream.read(clip_id)["samples"]).tobytes() for clip_id in stream.clip_ids}


def test_gpu_streams_go_to_workers_with_a_gpu_and_the_others_do_not_wait_for_one(store, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline.execute, "extract_batch", partial(extract_slowly, tmp_path / "notes"))
    plan = plan_extraction(store.snapshot(), [WAVEFORM, spec_for("logmel")])
    with running(tmp_path) as cluster:
        settings = ClusterSettings(scheduler=cluster.address, gpu_streams=("logmel",))
        cluster.start_worker("plain")
        with pytest.raises(InputError, match=r"no worker offers the Dask resource GPU, wanted for logmel"):
            run_extraction(store, plan, cluster=settings)
        assert store.snapshot().coverage() == []
        cluster.start_worker("graphic", "--resources", "GPU=1")
        report = run_until_the_gpu_is_there(store, plan, settings)
    assert report.n_ok == {"waveform": 5, "logmel": 5}
    lines = [line.split() for line in (tmp_path / "notes").read_text().splitlines()]
    (graphic,) = {pid for stream, pid in lines if stream == "logmel"}
    assert {pid for stream, pid in lines if stream == "waveform"} - {graphic}


def run_until_the_gpu_is_there(store, plan, settings):
    for _ in range(100):
        try:
            return run_extraction(store, plan, cluster=settings, batch_s=0.3)
        except InputError:
            time.sleep(0.2)
    raise AssertionError("the worker with a GPU did not come")


def test_workers_that_cannot_do_the_work_are_named_with_the_remedy_before_anything_is_written(store, plan, tmp_path):
    other = tmp_path / "other" / "timbrel-0.0.9.dist-info"
    other.mkdir(parents=True)
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: timbrel\nVersion: 0.0.9\n")
    empty = tmp_path / "empty" / "pipeline"
    empty.mkdir(parents=True)
    (empty / "__init__.py").write_text("raise ImportError('no timbrel here')")
    with running(tmp_path) as cluster:
        settings = ClusterSettings(scheduler=cluster.address)
        for name, words, environment, said in (
            ("version", (), {"PYTHONPATH": str(other.parent)}, r"worker tcp://\S+ has timbrel 0\.0\.9, this is "),
            ("none", (), {"PYTHONPATH": str(empty.parent)}, r"worker tcp://\S+ cannot run timbrel .*install timbrel"),
            ("threads", ("--nthreads", "2"), {}, r"worker tcp://\S+ runs 2 threads; .*--nthreads 1"),
        ):
            cluster.start_worker(name, *words, **environment)
            with pytest.raises(InputError, match=said):
                run_extraction(store, plan, cluster=settings)
            cluster.kill(name)
            wait_until_gone(cluster.address)
    assert store.snapshot().coverage() == []
    assert not (Path(store.uri) / "streams").exists()


def wait_until_gone(address):
    from distributed import Client

    with Client(address, timeout=10) as client:
        for _ in range(200):
            if not client.scheduler_info()["workers"]:
                return
            time.sleep(0.1)


class Elsewhere:
    """A machine on which `hidden` is not mounted: what it is asked is answered while the folder is away."""

    def __init__(self, hidden, fingerprint=None):
        self.hidden, self.fingerprint = hidden, fingerprint

    def run(self, answer, *arguments, **_options):
        away = self.hidden.with_name("away")
        self.hidden.rename(away)
        try:
            found = answer(*arguments)
        finally:
            away.rename(self.hidden)
        if self.fingerprint:
            found["fingerprints"]["waveform"] = self.fingerprint
        return {"tcp://elsewhere:1": found}

    def nthreads(self):
        return {"tcp://elsewhere:1": 1}


def test_worker_that_does_not_see_the_store_or_the_recordings_or_has_other_weights_is_refused(store, plan, tmp_path):
    here = ClusterSettings(class_name="x")
    with pytest.raises(InputError, match=r"worker tcp://elsewhere:1 does not see the store at .*; mount it there"):
        check_workers(Elsewhere(tmp_path / "store"), store, plan, here)
    with pytest.raises(InputError, match=r"does not see the recordings below .*audio; mount them there"):
        check_workers(Elsewhere(tmp_path / "audio"), store, plan, here)
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match=r"would make other numbers of waveform \(abc\); .*the same weights"):
        check_workers(Elsewhere(tmp_path / "other", "abc"), store, plan, here)
    check_workers(Elsewhere(tmp_path / "other"), store, plan, here)


def test_scheduler_that_does_not_answer_or_has_no_workers_is_one_sentence(store, plan, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline.cluster, "CONNECT_S", 1.0)
    with pytest.raises(UnreachableError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1; start one with"):
        run_extraction(store, plan, cluster=ClusterSettings(scheduler="tcp://127.0.0.1:1"))
    with pytest.raises(InputError, match=r"nonsense://x is no address of a Dask scheduler"):
        run_extraction(store, plan, cluster=ClusterSettings(scheduler="nonsense://x"))
    monkeypatch.setattr(pipeline.cluster, "CONNECT_S", 10.0)
    with running(tmp_path) as cluster:
        time.sleep(3)
        with pytest.raises(UnreachableError, match=r"at tcp://\S+ has no workers; start some with `dask worker tcp://"):
            run_extraction(store, plan, cluster=ClusterSettings(scheduler=cluster.address))


def test_cluster_class_of_the_settings_is_scaled_as_the_work_asks_for_it(store, plan):
    arguments = {"n_workers": 0, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    adaptive = ClusterSettings(class_name="distributed.LocalCluster", arguments=arguments, maximum=2)
    assert run_extraction(store, plan, cluster=adaptive, batch_s=0.3).n_ok == {"waveform": 5}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (ClusterSettings(class_name="nowhere.Cluster"), r"no Dask cluster class nowhere\.Cluster.*pip install nowhere"),
        (ClusterSettings(class_name="os.getcwd"), r"os\.getcwd, which is no Dask cluster class"),
        (
            ClusterSettings(class_name="distributed.LocalCluster", arguments={"what": 1}),
            r"distributed\.LocalCluster cannot be made of \[cluster\.arguments\]",
        ),
    ],
)
def test_cluster_class_that_cannot_be_made_is_one_sentence(store, plan, settings, said):
    with pytest.raises(InputError, match=said):
        run_extraction(store, plan, cluster=settings)
