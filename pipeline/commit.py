"""Receipts into the catalogue: the one place where extracted features become visible."""

import time
from collections.abc import Iterable, Iterator

from pipeline.execute import Receipt
from storage_schema.store import Store
from storage_schema.tables import ExtractionRow

COMMIT_EVERY_S = 2.0
"""A commit costs some 20 ms and a small file; every two seconds that is 1 %, and a killed run loses little."""


def commit_receipts(store: Store, receipts: Iterable[Receipt], every_s: float = COMMIT_EVERY_S) -> Iterator[Receipt]:
    """Pass receipts through, committing them in groups; when this ends, for whatever reason, all of them are in."""
    pending: list[ExtractionRow] = []
    last = time.monotonic()
    try:
        for receipt in receipts:
            pending.extend(receipt.rows)
            if time.monotonic() - last >= every_s:
                store.commit(pending)
                pending, last = [], time.monotonic()
            yield receipt
    finally:
        store.commit(pending)
