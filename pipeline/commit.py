"""Receipts into the catalogue: the one place where extracted features become visible."""

import time
from collections.abc import Generator, Iterable

from pipeline.execute import Receipt
from storage_schema.store import Store
from storage_schema.tables import ExtractionRow

COMMIT_EVERY_S = 10.0
"""A commit costs some 50 ms of a core that a worker could use, more the more there were, and every stream makes its
own. What is not committed is not lost: the next run finds it."""

_SHARE = 50
"""A commit into a large catalogue takes longer, and comes as much less often: at most a fiftieth of the time."""


def commit_receipts(
    store: Store, receipts: Iterable[Receipt], every_s: float = COMMIT_EVERY_S
) -> Generator[Receipt, None, None]:
    """Pass receipts through, committing them in groups; when this ends, for whatever reason, all of them are in.

    A run that is killed loses no work by it: parts that are whole but not committed are found again by the next run.
    """
    pending: list[ExtractionRow] = []
    due = time.monotonic() + every_s
    try:
        for receipt in receipts:
            pending.extend(receipt.rows)
            started = time.monotonic()
            if started >= due:
                store.commit(pending)
                ended = time.monotonic()
                pending, due = [], ended + max(every_s, _SHARE * (ended - started))
            yield receipt
    finally:
        store.commit(pending)
