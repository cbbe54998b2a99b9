"""The settings file: what differs from machine to machine, and so stands in no recipe. Today that is the cluster.

[cluster]
class = "dask_jobqueue.SLURMCluster"
maximum = 64
gpu_streams = ["neural"]

[cluster.arguments]
cores = 1
memory = "4GB"
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from features.registry import STREAMS
from pipeline.cluster_settings import HERE, ClusterSettings
from storage_schema.errors import InputError
from storage_schema.regular import read_regular

_MAX_BYTES = 65_536


class _Cluster(BaseModel):
    """`[cluster]`: a running one by its scheduler, or any Dask cluster class with its arguments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheduler: str | None = None
    class_name: Annotated[str | None, Field(alias="class")] = None
    arguments: dict[str, Any] = {}
    workers: Annotated[int | None, Field(ge=1)] = None
    minimum: Annotated[int, Field(ge=0)] = 0
    maximum: Annotated[int | None, Field(ge=1)] = None
    gpu_streams: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> "_Cluster":
        if (self.scheduler is None) == (self.class_name is None):
            raise ValueError("name either a scheduler or a class")
        if self.class_name is not None and (self.workers is None) == (self.maximum is None):
            raise ValueError("say how many workers: workers = N, or maximum = N for as many as the work asks for")
        if self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum is {self.minimum}, above maximum, {self.maximum}")
        unknown = sorted(set(self.gpu_streams) - set(STREAMS))
        if unknown:
            raise ValueError(f"gpu_streams names {', '.join(unknown)}; choose from {', '.join(STREAMS)}")
        return self


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    cluster: _Cluster


def cluster_settings(scheduler: str | None = None, path: str | None = None) -> ClusterSettings:
    """The cluster to use: the running one that is named, else the settings file's, else this machine.

    Raises InputError that names the file and every problem found in it.
    """
    found = HERE if path is None else _read(Path(path))
    if scheduler is None:
        return found
    return ClusterSettings(scheduler=scheduler, gpu_streams=found.gpu_streams)


def _read(path: Path) -> ClusterSettings:
    try:
        settings = _Settings.model_validate(tomllib.loads(read_regular(path, _MAX_BYTES).decode()))
    except OSError as error:
        raise InputError(f"the settings {path} cannot be read: {error.strerror}; name a TOML file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"the settings {path} are not TOML: {error}") from error
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors(include_url=False)]
        raise InputError(f"the settings {path} cannot be followed: {'; '.join(problems)}") from error
    cluster = settings.cluster
    return ClusterSettings(
        scheduler=cluster.scheduler,
        class_name=cluster.class_name,
        arguments=cluster.arguments,
        n_workers=cluster.workers,
        minimum=cluster.minimum,
        maximum=cluster.maximum,
        gpu_streams=cluster.gpu_streams,
    )
