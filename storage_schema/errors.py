"""Every error timbrel raises on purpose, grouped by what the caller does about it.

    InputError     fix the command, recipe, path or setting, and call again
    StoreError     the store is not what was expected; the message names the command that mends it
    ConflictError  somebody else wrote first; try again
    UnreachableError  a scheduler, server or bucket does not answer; see to it, and try again
    ClipError      skip this clip and record why: it becomes a `failed` row, and the run goes on
    ContractError  a bug in an extractor or in timbrel; report it

Each keeps a builtin as a parent, so that callers who know nothing of timbrel can still catch it.
"""

from typing import Literal, get_args

FailureKind = Literal[
    "vanished",  # the file was there at ingest and is not there now
    "unreadable",  # the operating system refuses the bytes, or it is no regular file
    "changed",  # the bytes are no longer those that were ingested
    "empty",  # no audio sample in it
    "undecodable",  # bytes that no decoder takes
    "not_finite",  # NaN or infinity among the samples
    "extractor",  # the extractor raised, or returned numbers that break its own spec
    "crashed",  # its worker process died of it: abort, segmentation fault, out of memory
    "timeout",  # its worker process was ended because it took longer than its time limit
]
"""What can be wrong with one clip. Stored in the catalogue, so a kind is never renamed."""

FAILURE_KINDS: tuple[str, ...] = get_args(FailureKind)

FILE_FAILURES: tuple[FailureKind, ...] = ("vanished", "unreadable", "changed")
"""Those that speak of the file and not of its sound: over as soon as the file is back."""


class TimbrelError(Exception):
    """The parent of all the others; its text is a sentence made to be shown to a person."""


class InputError(TimbrelError, ValueError):
    """What was asked for cannot be done as it was asked."""


class StoreError(TimbrelError, RuntimeError):
    """The store is missing, of another schema version, or contradicts itself."""


class ConflictError(StoreError):
    """Another writer committed first, more often than we were willing to retry."""


class ContractError(TimbrelError, AssertionError):
    """Code broke a promise that it had made; no input should be able to cause this."""


class UnreachableError(TimbrelError, ConnectionError):
    """Another program that is needed does not answer now; the same question may be answered later."""


class ClipError(TimbrelError, ValueError):
    """One clip cannot be used; `kind` says in one word why."""

    def __init__(self, kind: FailureKind, message: str) -> None:
        super().__init__(kind, message)  # both, so that it survives the way back from a worker
        self.kind: FailureKind = kind
        self.message = message

    def __str__(self) -> str:
        return self.message
