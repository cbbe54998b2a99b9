"""Prefect's server: a small one for a flow that is called by hand, a whole one with its page for `timbrel serve`.

A terminal sends its interrupt to every process of the command. A server that took it would be gone when the flow tells
it how it ended, and Prefect would try to reach it for minutes before the command stops.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from threading import Thread
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

from storage_schema.errors import InputError, UnreachableError

API_VARIABLE = "PREFECT_API_URL"

_ANSWER_S = 10.0
"""How long a server that is said to run may take to answer."""

_START_S = 120.0
"""How long one that is started may take: the first start makes a database, which takes 10 to 20 s."""


def name_server(url: str) -> None:
    """Use the server at `url`, such as http://127.0.0.1:4200/api; to be called before prefect is imported.

    Raises UnreachableError where none answers there.
    """
    check_server(url)
    os.environ[API_VARIABLE] = url


def check_server(url: str) -> None:
    """Raise UnreachableError where no Prefect server answers at `url`, InputError where that is no address."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(f"{url} is no address of a Prefect server; write one as http://127.0.0.1:4200/api")
    if not _is_healthy(url, _ANSWER_S):
        raise UnreachableError(
            f"no Prefect server answers at {url}; start it with `prefect server start`, or correct --server or "
            f"{API_VARIABLE}"
        )


def start_server() -> None:
    """Start the server that this process's flows will use, unless the settings name one; it ends with this process.

    Raises UnreachableError where the one that the settings name does not answer.
    """
    from prefect.settings import PREFECT_API_URL

    named = PREFECT_API_URL.value()
    if named:
        check_server(named)
        return
    starter = Thread(target=_start_small, daemon=True)
    starter.start()
    starter.join()  # this thread can be interrupted meanwhile


@contextmanager
def whole_server(host: str, port: int) -> Iterator[str]:
    """A whole server, with page and scheduler, while the block runs; its address for programs.

    Raises InputError where something else listens there already, UnreachableError where it does not come up.
    """
    url = f"http://{host}:{port}/api"
    if _is_healthy(url, 2.0):
        raise InputError(
            f"a Prefect server runs at {host}:{port} already; use it with --server {url}, or name another --port"
        )
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", host, "--port", str(port)]
    # Its page asks port 4200 unless it is told where the server really is.
    environment = {name: value for name, value in os.environ.items() if name != API_VARIABLE}
    environment["PREFECT_UI_API_URL"] = url
    # A session of its own, so that Ctrl-C reaches it only once this process is through with it.
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            _wait_until_healthy(process, url)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_healthy(process: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + _START_S
    while not _is_healthy(url, 2.0):
        if process.poll() is not None:
            raise UnreachableError(
                f"Prefect's server did not start at {url} (exit code {process.returncode}); is the port taken? Name "
                "another with --port"
            )
        if time.monotonic() > deadline:
            raise UnreachableError(f"Prefect's server did not answer at {url} within {_START_S:.0f} s")
        time.sleep(0.1)


def _is_healthy(url: str, timeout_s: float) -> bool:
    try:
        with urlopen(f"{url.rstrip('/')}/health", timeout=timeout_s) as answer:  # noqa: S310 - the scheme was looked at
            return bool(answer.status == 200 and answer.read(16).strip() == b"true")
    except (URLError, OSError, HTTPException, ValueError):
        return False


def _start_small() -> None:
    from prefect.server.api.server import SubprocessASGIServer

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # of this thread, and inherited by what it starts
    SubprocessASGIServer().start()
