"""Prefect's own small server, started so that Ctrl-C reaches the flow and leaves the server standing.

A terminal sends its interrupt to every process of the command. A server that took it would be gone when the flow tells
it how it ended, and Prefect would try to reach it for minutes before the command stops.
"""

import signal
from threading import Thread

from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_API_URL


def start_server() -> None:
    """Start the server that this process's flows will use, unless the settings name one; it ends with this process."""
    if PREFECT_API_URL.value():
        return
    starter = Thread(target=_start, daemon=True)
    starter.start()
    starter.join()  # this thread can be interrupted meanwhile


def _start() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # of this thread, and inherited by what it starts
    SubprocessASGIServer().start()
