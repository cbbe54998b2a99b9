"""Objects below an `s3://` uri: the only module that speaks to an object store by itself.

Where the server is and who we are comes from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION,
AWS_ENDPOINT_URL, AWS_ALLOW_HTTP, ...), as for every other S3 client. What goes wrong is raised as the OSError that a
disk would raise, in our own words: a server's answer may repeat the access key, and would end in logs and reports.
"""

import errno
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import obstore
from obstore import exceptions
from obstore.store import S3Store

from storage_schema.errors import InputError

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ClientConfig, RetryConfig

SCHEME = "s3://"

_TIMEOUTS: "ClientConfig" = {"connect_timeout": "3s", "read_timeout": "10s", "timeout": "1h"}  # of a whole download
_RETRY: "RetryConfig" = {
    "max_retries": 40,
    "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2},
    "retry_timeout": timedelta(seconds=12),
}
"""A server that is not there is told within some 15 s; one that is busy is asked again until then."""

_STREAM_BYTES = 4 * 2**20

_NOT_FOUND = frozenset(["NoSuchBucket", "NoSuchKey", "404"])
_REFUSED = frozenset(["AccessDenied", "403"])
_UNKNOWN = frozenset(["InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "401"])
_BUSY = frozenset(["SlowDown", "InternalError", "ServiceUnavailable", "429"])
_SHORT = frozenset(["InvalidRange", "416"])
_NO_CREDENTIALS = "169.254.169.254"
"""Where a virtual machine's credentials are asked for when the environment has none."""


@dataclass(frozen=True)
class Entry:
    """One object of a listing; `modified_at` in whole seconds, because that is all that `Bucket.head` is told."""

    key: str
    n_bytes: int
    modified_at: datetime


Children: TypeAlias = tuple[list[str], list[Entry]]
"""The keys of the subfolders of a folder, and its objects. Named here because `Bucket.list` hides `list` below."""


@dataclass(frozen=True)
class Bucket:
    """The objects below `uri`, `s3://bucket` or `s3://bucket/prefix`; keys are relative to it, with forward slashes.

    Raises InputError where `uri` names no bucket. Every method raises FileNotFoundError where there is no such object
    or bucket, PermissionError where the credentials do not suffice, and OSError with a sentence otherwise. Whatever is
    asked for, `errno` is EHOSTUNREACH where nobody can answer, and EPERM where the credentials are missing or unknown.
    """

    uri: str

    def __post_init__(self) -> None:
        if not self.uri.startswith(SCHEME) or not self._name:
            raise InputError(f"{self.uri!r} names no bucket; write s3://bucket/prefix")

    @cached_property
    def store(self) -> S3Store:
        """The same as obstore sees it, for libraries that take one."""
        with self._in_our_words(""):
            return S3Store(
                self._name, prefix=self._prefix or None, client_options=_client_options(), retry_config=_RETRY
            )

    def uri_of(self, key: str) -> str:
        """The full uri of an object, for messages."""
        return f"{self.uri.rstrip('/')}/{key}" if key else self.uri

    def read(self, key: str) -> bytes:
        """All bytes of one object."""
        with self._in_our_words(key):
            return bytes(obstore.get(self.store, key).bytes())

    def stream(self, key: str) -> Iterator[bytes]:
        """The bytes of one object in blocks of some megabytes, so that a long one needs no memory."""
        with self._in_our_words(key):
            for block in obstore.get(self.store, key).stream(min_chunk_size=_STREAM_BYTES):
                yield bytes(block)

    def head(self, key: str) -> tuple[int, datetime]:
        """Size in bytes, and when it was last written."""
        with self._in_our_words(key):
            entry = _entry(obstore.head(self.store, key))
        return entry.n_bytes, entry.modified_at

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every object below the folder `prefix`, in no particular order; none where there is no such folder."""
        with self._in_our_words(prefix):
            for page in obstore.list(self.store, prefix or None):
                yield from map(_entry, page)

    def children(self, prefix: str = "") -> Children:
        """What lies directly in the folder `prefix`."""
        with self._in_our_words(prefix):
            found = obstore.list_with_delimiter(self.store, prefix or None)
        return [*found["common_prefixes"]], [_entry(item) for item in found["objects"]]

    def put(self, key: str, content: bytes | Path) -> None:
        """Write one object, whole or not at all, over what is there; `content` is its bytes or a file that has them."""
        with self._in_our_words(key):
            obstore.put(self.store, key, content)

    def delete(self, key: str) -> None:
        """Take one object away; nothing happens where there is none."""
        self.remove([key])

    def remove(self, keys: Iterable[str]) -> None:
        """Take many objects away; those that are not there are left out."""
        paths = [*keys]
        if paths:
            with self._in_our_words(paths[0]):
                obstore.delete(self.store, paths)

    @property
    def _name(self) -> str:
        return self.uri.removeprefix(SCHEME).partition("/")[0]

    @property
    def _prefix(self) -> str:
        return self.uri.removeprefix(SCHEME).partition("/")[2].strip("/")

    @contextmanager
    def in_our_words(self, key: str) -> Iterator[None]:
        """Raise as an OSError what another library meets that was given `store`, and nothing else."""
        try:
            yield
        except exceptions.BaseError as error:
            translated = as_os_error(error, self.uri_of(key))
        else:
            return
        raise translated from None

    @contextmanager
    def _in_our_words(self, key: str) -> Iterator[None]:
        try:
            yield
        except (exceptions.BaseError, FileNotFoundError, PermissionError, ValueError) as error:
            translated = as_os_error(error, self.uri_of(key))
        else:
            return
        raise translated from None  # the original may hold the access key


def _client_options() -> "ClientConfig":
    """Our timeouts, and what the environment says of the connection: obstore reads it only where it is given none."""
    return {
        **_TIMEOUTS,
        "allow_http": _is_set("AWS_ALLOW_HTTP") or is_plain_http(),
        "allow_invalid_certificates": _is_set("AWS_ALLOW_INVALID_CERTIFICATES"),
    }


def is_plain_http() -> bool:
    """Whether the environment names a server without TLS; who writes http:// means it, and need not say so twice."""
    return os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")


def _is_set(name: str) -> bool:
    return os.environ.get(name, "").lower() in ("1", "true", "yes", "on")


def _entry(item: "ObjectMeta") -> Entry:
    return Entry(item["path"], int(item["size"]), item["last_modified"].astimezone(UTC).replace(microsecond=0))


def as_os_error(error: Exception, uri: str) -> OSError:
    """The same failure as a disk would tell it, without a word of the server's answer but its code.

    It may come from any library that is built on the same client as ours.
    """
    text = str(error)
    found = re.search(r"<Code>(\w+)</Code>", text) or re.search(r"\b([45]\d\d) [A-Z]", text)
    code = found[1] if found else ""
    refused = PermissionError | exceptions.PermissionDeniedError
    if isinstance(error, FileNotFoundError | exceptions.NotFoundError) or code in _NOT_FOUND:
        number, reason = errno.ENOENT, "there is no such object or bucket"
    elif code in _SHORT:
        number, reason = errno.EIO, "the object is shorter than it was"
    elif _NO_CREDENTIALS in text:
        number, reason = errno.EPERM, "no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    elif isinstance(error, exceptions.UnauthenticatedError) or code in _UNKNOWN:
        number, reason = errno.EPERM, "the server does not know these credentials"
    elif isinstance(error, refused) or code in _REFUSED:
        number, reason = errno.EACCES, "the server refuses it to these credentials"
    elif isinstance(error, ValueError) or "Encountered illegal character" in text:
        number, reason = errno.EINVAL, "a name with control characters, '..' or '//' is none that S3 is asked for"
    elif code in _BUSY or code.startswith("5"):
        number, reason = errno.EHOSTUNREACH, f"the server is not able to answer ({code}); try again later"
    elif code:
        number, reason = errno.EPROTO, f"the server answered {code}"
    elif "HTTP error" in text or "error sending request" in text:
        number, reason = errno.EHOSTUNREACH, "the server does not answer; check AWS_ENDPOINT_URL and AWS_REGION"
    else:
        number, reason = errno.EPROTO, f"the request failed ({type(error).__name__})"
    return OSError(number, reason, uri)  # Python makes the subclass that belongs to the number
