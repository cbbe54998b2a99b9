"""Which failures of a task are worth another try: those of the moment. The others are told at once."""

from typing import Any

from storage_schema.errors import ConflictError, UnreachableError

RETRIES = 2
RETRY_AFTER_S = [5.0, 30.0]
"""A conflict is over in seconds; a scheduler that is being restarted takes longer."""


def can_pass_again(_task: Any, _run: Any, state: Any) -> bool:
    """For Prefect's `retry_condition_fn`: whether another try may end otherwise.

    Somebody else wrote first, or a scheduler or server did not answer. A wrong question, a broken promise, a clip that
    fails and a full disk are the same a minute later.
    """
    try:
        state.result()
    except (ConflictError, UnreachableError):
        return True
    except BaseException:  # Prefect hands over whatever the task raised
        return False
    return False
