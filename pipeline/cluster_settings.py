"""Which cluster an extraction uses, as plain values; dask is not imported, so that a wrong word is said at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

GPU = "GPU"
"""The Dask resource that a worker with a graphics card offers: `dask worker --resources GPU=1`."""


@dataclass(frozen=True)
class ClusterSettings:
    """Which cluster to use; all at their defaults, processes on this machine.

    scheduler: the address of a running one, such as tcp://10.0.0.1:8786.
    class_name: any Dask cluster class, such as "dask_jobqueue.SLURMCluster", made with `arguments` and scaled to
    `n_workers`, or between `minimum` and `maximum` as the work asks for it.
    gpu_streams: the streams whose batches go only to workers that offer the Dask resource GPU.
    """

    scheduler: str | None = None
    class_name: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    n_workers: int | None = None
    minimum: int = 0
    maximum: int | None = None
    gpu_streams: tuple[str, ...] = ()

    @property
    def is_local(self) -> bool:
        return self.scheduler is None and self.class_name is None

    def resource_of(self, stream: str) -> str | None:
        """The Dask resource that the stream's batches ask for."""
        return GPU if stream in self.gpu_streams else None


HERE = ClusterSettings()
"""Processes on this machine."""
