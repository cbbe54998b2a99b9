"""How work tells how far it is: one plain callback, which a terminal, a log or Prefect can show."""

from collections.abc import Callable
from typing import TypeAlias

OnProgress: TypeAlias = Callable[[str, int, int], None]
"""Called with (what, done, total), where `what` is a stage or a stream and the numbers count clips."""


def no_progress(_what: str, _done: int, _total: int) -> None:
    """For callers who do not want to know."""
