"""A real Prefect server on loopback, with its own database, for the tests that need one."""

import os
import subprocess
import sys
import time
from contextlib import contextmanager

from flows.server import _is_healthy
from tests.s3 import _free_ports


@contextmanager
def prefect_server(folder):
    """Start a server whose database lies in `folder`; yields the environment in which prefect uses it."""
    (port,) = _free_ports(1)
    url = f"http://127.0.0.1:{port}/api"
    environment = {"PREFECT_HOME": str(folder), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    log = (folder / "server.log").open("wb")
    with log, subprocess.Popen(command, env=os.environ | environment, stdout=log, stderr=log) as process:
        try:
            deadline = time.monotonic() + 120
            while not _is_healthy(url, 1.0):
                assert process.poll() is None, (folder / "server.log").read_text()
                assert time.monotonic() < deadline, "Prefect's server did not start"
                time.sleep(0.2)
            yield environment | {"PREFECT_API_URL": url}
        finally:
            process.terminate()
            process.wait(20)
