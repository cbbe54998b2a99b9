"""Wiring and words: the Prefect flows and the command line.

Prefect reads its settings once, when it is imported; whatever in `flows` imports it, this file has run before. Values
that the environment already holds stay.
"""

import os

_PREFECT_DEFAULTS = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    # What a stage raises reaches whoever called the flow, who says it once; Prefect would print it at every level.
    "PREFECT_LOGGING_LOGGERS_PREFECT_FLOW_RUNS_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_LOGGERS_PREFECT_TASK_RUNS_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # the first start migrates a database: 20 s and more
}

for _name, _value in _PREFECT_DEFAULTS.items():
    os.environ.setdefault(_name, _value)
