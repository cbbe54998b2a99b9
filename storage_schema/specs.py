"""The description that lies beside a stream's parts: read, and held to the fingerprint it lies under."""

from storage_schema.errors import InputError, StoreError
from storage_schema.files import Files
from storage_schema.layout import spec_key
from storage_schema.streams import StreamSpec


def read_spec(files: Files, stream: str, fingerprint: str) -> StreamSpec:
    """The description that was written with the stream. Raises StoreError where it is lost or was changed."""
    key = spec_key(stream, fingerprint)
    try:
        found = StreamSpec.from_json(files.read(key).decode())
    except (OSError, UnicodeDecodeError, InputError) as error:
        raise StoreError(
            f"the description of stream {stream} {fingerprint} cannot be read: {error}; `timbrel repair` writes it anew"
        ) from error
    if found.fingerprint != fingerprint:
        raise StoreError(
            f"{files.uri}/{key} describes a stream with fingerprint {found.fingerprint}, but lies where that "
            f"of {fingerprint} belongs; `timbrel repair` writes it anew"
        )
    return found
