"""`refresh` on a schedule: one deployment a store, one process that serves it, one run at a time.

What Prefect alone would do otherwise: start what was missed while nothing served, all at once; start a run beside one
that still runs; and pause the schedule when serving ends.
"""

import asyncio
import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import platformdirs
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId, FlowRunFilter, FlowRunFilterState
from prefect.client.schemas.filters import FlowRunFilterStateType as StateTypes
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, FlowRun, StateType
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.schedules import Schedule as PrefectSchedule
from prefect.states import Cancelled, Crashed
from prefect.types.entrypoint import EntrypointType

from flows.refresh import refresh_flow
from storage_schema.errors import InputError

_POLL_S = 5.0
"""How often Prefect is asked for work."""

_LOOKED_LATELY = timedelta(seconds=30)
"""Somebody who asked for this deployment's work that lately serves it still."""


@dataclass(frozen=True)
class Schedule:
    """When to run: a cron line in a time zone, or every so many seconds."""

    cron: str | None = None
    every_s: float | None = None
    timezone: str | None = None

    def checked(self) -> PrefectSchedule:
        """As Prefect takes it. Raises InputError where the line does not parse, or neither or both are given."""
        if (self.cron is None) == (self.every_s is None):
            raise InputError('say when: --cron "0 2 * * *" for two at night, or --every 3600 for every hour')
        try:
            if self.cron is not None:
                CronSchedule(cron=self.cron, timezone=self.timezone)  # which looks at the line, unlike the one below
                return PrefectSchedule(cron=self.cron, timezone=self.timezone)
            interval = timedelta(seconds=self.every_s or 0.0)
            IntervalSchedule(interval=interval, timezone=self.timezone)
            return PrefectSchedule(interval=interval, timezone=self.timezone)
        except ValueError as error:
            asked = f'--cron "{self.cron}"' if self.cron is not None else f"--every {self.every_s:g}"
            zone = f" in the time zone {self.timezone}" if self.timezone else ""
            raise InputError(
                f"{asked}{zone} cannot be followed; a cron line has five fields, minute hour day month weekday, such "
                'as "0 2 * * *" for two at night'
            ) from error


def deployment_name(store_uri: str) -> str:
    """One name a store: two stores of one folder name differ by the hash of where they lie."""
    slug = re.sub("[^A-Za-z0-9]+", "-", store_uri.rstrip("/").rpartition("/")[2]).strip("-") or "store"
    return f"{slug}-{_hash(store_uri)[:8]}"


@contextmanager
def only_server_of(store_uri: str) -> Iterator[None]:
    """Be the only process of this machine that serves the store while the block runs.

    The operating system takes the lock from a process that ends in whatever way. Raises InputError where there is one.
    """
    folder = Path(os.environ.get("TIMBREL_CACHE") or platformdirs.user_cache_dir("timbrel")).expanduser() / "serving"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _hash(store_uri)).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read(20).strip() or "unknown"
            raise InputError(
                f"{store_uri} is served by another `timbrel serve` already (process {holder}); stop that one first, or "
                "name another store"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


async def serve(store_uri: str, schedule: Schedule, parameters: Mapping[str, Any]) -> None:
    """Deploy `refresh` for the store on Prefect's server and carry its runs out, until it is interrupted.

    parameters: those of `flows.refresh.refresh_flow`. Raises InputError where another machine serves the store.
    """
    name = deployment_name(store_uri)
    runner = Runner(name=name, pause_on_shutdown=False, query_seconds=_POLL_S, limit=None)
    # A run that is fetched before its time would hold the only place, and have the run before it refused.
    runner._prefetch_seconds = 0
    deployment = await refresh_flow.ato_deployment(
        name=name,
        schedule=schedule.checked(),
        parameters=dict(parameters),
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        description=f"Keeps {store_uri} up to date. Served by `timbrel serve`.",
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    async with get_client() as client:
        await _refuse_second(client, f"{refresh_flow.name}/{name}", store_uri)
        deployment_id = await runner.aadd_deployment(deployment)
        await _clear_up(client, deployment_id)
    await runner.start()


async def _refuse_second(client: PrefectClient, name: str, store_uri: str) -> None:
    try:
        found = await client.read_deployment_by_name(name)
    except ObjectNotFound:
        return
    if found.last_polled is not None and datetime.now(UTC) - found.last_polled < _LOOKED_LATELY:
        raise InputError(
            f"{store_uri} is served by another `timbrel serve` already, which asked {client.api_url} for work at "
            f"{found.last_polled:%H:%M:%S} UTC; stop that one first, or wait half a minute if it was stopped just now"
        )


async def _clear_up(client: PrefectClient, deployment_id: UUID) -> None:
    """What an earlier process left: a run that nobody carries out is crashed; of those missed, the newest stays."""
    for run in await _runs_in(client, deployment_id, StateType.RUNNING, StateType.PENDING, StateType.CANCELLING):
        await client.set_flow_run_state(run.id, Crashed(message="timbrel serve ended while it ran"), force=True)
    now = datetime.now(UTC)
    waiting = await _runs_in(client, deployment_id, StateType.SCHEDULED)
    missed = [run for run in waiting if run.expected_start_time is not None and run.expected_start_time < now]
    for run in sorted(missed, key=lambda run: str(run.expected_start_time))[:-1]:
        await client.set_flow_run_state(run.id, Cancelled(message="missed while nothing served"), force=True)


async def _runs_in(client: PrefectClient, deployment_id: UUID, *states: StateType) -> list[FlowRun]:
    return await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=StateTypes(any_=list(states)))),
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id])),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,  # this and the limit have defaults that the server refuses
        limit=200,
    )


def serve_until_interrupted(store_uri: str, schedule: Schedule, parameters: Mapping[str, Any]) -> None:
    """`serve` as a plain call; returns where it is told to stop."""
    asyncio.run(serve(store_uri, schedule, parameters))


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
