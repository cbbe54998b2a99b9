"""`timbrel serve` against a real Prefect server: files dropped into a folder are picked up, and Prefect shows it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from features.registry import spec_for
from flows.refresh import refresh_flow
from flows.serve import _clear_up, deployment_name
from pipeline.plan import plan_extraction
from storage_schema import open_store
from storage_schema.layout import MARKER
from storage_schema.progress import no_progress
from storage_schema.upkeep.verify import verify
from tests.pipeline.conftest import write_sine

pytestmark = pytest.mark.slow  # about 60 s together, of which most is Prefect and its processes starting

TIMBREL = str(Path(sys.executable).with_name("timbrel"))


class Prefect:
    """Prefect's API, asked as any program would."""

    def __init__(self, environment):
        self.environment = environment
        self.url = environment["PREFECT_API_URL"]

    def ask(self, path, **body):
        data = None if not body else json.dumps(body).encode()
        request = Request(f"{self.url}/{path}", data, {"Content-Type": "application/json"})
        pauses_s = iter((0.5, 1, 2, 4, 8))
        while True:  # where SQLite lets another write just now, Prefect's own clients come again too
            try:
                with urlopen(request, timeout=30) as answer:
                    return json.load(answer)
            except HTTPError as error:
                pause_s = next(pauses_s, None)
                if error.code != HTTPStatus.SERVICE_UNAVAILABLE or pause_s is None:
                    raise
                time.sleep(pause_s)

    def deployment(self, store):
        return self.ask(f"deployments/name/timbrel-refresh/{deployment_name(str(store))}")

    def runs(self, store, *states):
        wanted = {"id": {"any_": [self.deployment(store)["id"]]}}
        flow_runs = {"state": {"type": {"any_": list(states)}}} if states else None
        return self.ask("flow_runs/filter", deployments=wanted, flow_runs=flow_runs, sort="START_TIME_DESC")

    def artifacts(self, **filters):
        return self.ask("artifacts/filter", artifacts=filters, sort="CREATED_DESC", limit=50)


@pytest.fixture(scope="module")
def prefect(prefect_environment):
    return Prefect(prefect_environment)


@contextmanager
def serving(prefect, store, audio, *words):
    """`timbrel serve` as a process of its own; yields it, once it says that it serves."""
    command = [TIMBREL, "serve", "--store", store, "--root", audio, "--streams", "waveform", *words]
    environment = os.environ | prefect.environment
    with subprocess.Popen(
        list(map(str, command)), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            line = process.stdout.readline()
            assert line.startswith("serving "), line + process.stderr.read()
            yield process
        finally:
            process.kill()


def wait_for(what, seconds=120.0):
    """What `what` gives as soon as it is true."""
    deadline = time.monotonic() + seconds
    while True:
        found = what()
        if found or time.monotonic() > deadline:
            assert found, f"waited {seconds:.0f} s for {what.__name__}"
            return found
        time.sleep(0.5)


def n_done(store):
    if not (store / MARKER).exists():
        return 0
    return sum(entry.n_ok for entry in open_store(store).snapshot().coverage())


def test_dropped_files_are_picked_up_seen_in_prefect_and_no_second_server_is_let_in(prefect, audio, tmp_path):
    store = tmp_path / "store"
    (audio / "low" / "[a](javascript:alert(1)).wav").write_bytes(b"no sound")
    with serving(prefect, store, audio, "--every", "5") as process:

        def first_four():
            return n_done(store) == 4

        wait_for(first_four)
        for i in (4, 5):
            write_sine(audio / "high" / f"{i}.wav", 2000 + 100 * i, 0.3)

        def all_six():
            return n_done(store) == 6

        wait_for(all_six)

        second = subprocess.run(
            [TIMBREL, "serve", "--store", store, "--root", audio, "--every", "5"],
            env=os.environ | prefect.environment | {"TIMBREL_CACHE": str(tmp_path / "elsewhere")},
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert second.returncode == 2
        assert f"{store} is served by another `timbrel serve` already" in second.stderr

        def completed():
            return prefect.runs(store, "COMPLETED")

        (run, *_) = wait_for(completed)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert "the schedule stays" in out
    assert "Traceback" not in err
    deployment = prefect.deployment(store)
    assert not deployment["paused"]
    assert [schedule["active"] for schedule in deployment["schedules"]] == [True]

    ran_at_once = [run for run in prefect.runs(store, "CANCELLED") if "concurrency limit" in run["state"]["message"]]
    assert len(ran_at_once) >= 1  # a run takes longer than 5 s
    kept = prefect.artifacts(flow_run_id={"any_": [each["id"] for each in prefect.runs(store)]})
    by_key = {artifact["key"]: artifact for artifact in reversed(kept)}
    assert set(by_key) == {"coverage-store", "quarantine-store", "summary-store", "progress-waveform-store"}
    assert float(by_key["progress-waveform-store"]["data"]) == 100
    (coverage,) = json.loads(by_key["coverage-store"]["data"])
    assert {name: coverage[name] for name in ("stream", "clips", "done", "failed")} == {
        "stream": "waveform",
        "clips": 7,
        "done": 6,
        "failed": 1,
    }
    (failure,) = json.loads(by_key["quarantine-store"]["data"])
    assert failure["kind"] == "undecodable"
    assert failure["uri"] == r"low/\[a\]\(javascript\:alert\(1\)\).wav"
    assert run["state"]["type"] == "COMPLETED"


def test_cancelled_run_ends_with_its_workers_and_leaves_the_store_whole(prefect, tmp_path):
    store, audio = tmp_path / "store", tmp_path / "long"
    for i in range(12):  # some ten seconds of work for two processes
        write_sine(audio / "low" / f"{i}.wav", 100 + 50 * i, 120.0)
    with serving(prefect, store, audio, "--cron", "0 2 * * *") as process:

        def deployed():
            with suppress(HTTPError):  # not found until it is
                return prefect.deployment(store)["id"]

        deployment = wait_for(deployed)
        run = prefect.ask(f"deployments/{deployment}/create_flow_run", parameters={"streams": ["pitch"]})["id"]

        def begun():
            return prefect.artifacts(flow_run_id={"any_": [run]}, key={"any_": ["progress-pitch-store"]})

        wait_for(begun)
        workers = psutil.Process(process.pid).children(recursive=True)
        assert len(workers) >= 3  # the flow, and two or more processes of Dask
        prefect.ask(f"flow_runs/{run}/set_state", state={"type": "CANCELLING"}, force=True)

        def cancelled():
            return prefect.runs(store, "CANCELLED")

        wait_for(cancelled)
        _, alive = psutil.wait_procs(workers, timeout=30)
        assert alive == []
    opened = open_store(store)
    assert [finding for finding in verify(opened, None, no_progress) if finding.severity == "error"] == []
    plan = plan_extraction(opened.snapshot(), [spec_for("pitch")])
    assert plan.streams[0].n_wanted + plan.streams[0].n_done == 12
    assert plan.n_wanted > 0


def test_of_missed_runs_one_stays_and_a_run_that_nobody_carries_out_is_crashed(prefect, tmp_path):
    store = str(tmp_path / "store")
    with temporary_settings({PREFECT_API_URL: prefect.url}):
        deployment = refresh_flow.to_deployment(deployment_name(store), parameters={"store": store, "root": "/nowhere"})
        deployment_id = deployment.apply()
        for hour in range(4):
            at = (datetime.now(UTC) - timedelta(hours=1 + hour)).isoformat()
            prefect.ask(f"deployments/{deployment_id}/create_flow_run", state=scheduled(at))
        soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        prefect.ask(f"deployments/{deployment_id}/create_flow_run", state=scheduled(soon))
        prefect.ask(f"deployments/{deployment_id}/create_flow_run", state={"type": "RUNNING"})

        async def clear_up():
            async with get_client() as client:
                await _clear_up(client, deployment_id)

        asyncio.run(clear_up())
    left = prefect.runs(store)
    assert sorted(run["state"]["type"] for run in left) == ["CANCELLED"] * 3 + ["CRASHED"] + ["SCHEDULED"] * 2
    newest = max(run["expected_start_time"] for run in left if run["state"]["type"] == "CANCELLED")
    assert all(run["expected_start_time"] > newest for run in left if run["state"]["type"] == "SCHEDULED")
    said = {run["state"]["message"] for run in left if run["state"]["type"] in ("CANCELLED", "CRASHED")}
    assert said == {"missed while nothing served", "timbrel serve ended while it ran"}


def scheduled(at):
    return {"type": "SCHEDULED", "state_details": {"scheduled_time": at}}


@pytest.mark.parametrize("cron", ["every night", "61 2 * * *", "0 2 * *", ""])
def test_cron_line_that_does_not_parse_is_one_sentence_that_shows_a_right_one(timbrel, audio, tmp_path, prefect, cron):
    words = ("--store", tmp_path / "store", "--root", audio, "--server", prefect.url)
    code, _, err = timbrel("serve", *words, "--cron", cron)
    assert code == 2
    assert err.startswith(f'timbrel: --cron "{cron}" cannot be followed; a cron line has five fields')
    assert not (tmp_path / "store").exists()


def test_server_that_does_not_answer_and_schedule_that_is_not_said_are_one_sentence(timbrel, audio, tmp_path):
    words = ("--store", tmp_path / "store", "--root", audio)
    for command, server, said in (
        ("serve", "http://127.0.0.1:9/api", "no Prefect server answers at http://127.0.0.1:9/api; start it with"),
        ("refresh", "http://127.0.0.1:9/api", "no Prefect server answers at http://127.0.0.1:9/api; start it with"),
        ("refresh", "127.0.0.1:4200", "127.0.0.1:4200 is no address of a Prefect server; write one as"),
    ):
        code, _, err = timbrel(command, *words, "--server", server)
        assert code == 2
        assert err.startswith(f"timbrel: {said}")
    assert not (tmp_path / "store").exists()
