"""Which run of a dataset is the one in use: a small file a dataset, replaced whole, and never a guess by time.

It also remembers what was weighed last, so that a model that was found worse is not trained again every night.
"""

import json
import re
from dataclasses import asdict, dataclass

from storage_schema.errors import StoreError
from storage_schema.files import Files
from storage_schema.layout import promoted_key


@dataclass(frozen=True)
class Promotion:
    """The state of one dataset: the run in use, and the newest run that was weighed against it.

    run_id: the promoted run. weighed: the run that was weighed last, promoted or not, and `state`, a hash of all that
    it was trained on. why: a sentence on what came of it. at: when, in ISO 8601.
    """

    dataset: str
    run_id: str
    weighed: str
    state: str
    why: str
    at: str


def read_promotion(files: Files, dataset: str) -> Promotion | None:
    """What is in use for `dataset`; None where nothing has been promoted. Raises StoreError for a damaged file."""
    key = promoted_key(_name_of(dataset))
    try:
        document = json.loads(files.read(key))
        found = Promotion(**{name: str(document[name]) for name in Promotion.__dataclass_fields__})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{files.uri}/{key} does not say which run is in use ({error}); delete it, and the next `timbrel refresh` "
            "promotes anew"
        ) from error
    if found.dataset != dataset:
        raise StoreError(
            f"{files.uri}/{key} is of dataset {found.dataset!r}, whose name is too like {dataset!r}; ingest one of "
            "them under another name with --dataset"
        )
    return found


def write_promotion(files: Files, promotion: Promotion) -> None:
    """Make it so, durable and whole or not at all. Raises StoreError where it cannot be written."""
    key = promoted_key(_name_of(promotion.dataset))
    try:
        files.write(key, json.dumps(asdict(promotion), indent=2).encode())
    except OSError as error:
        raise StoreError(f"{files.uri}/{key} cannot be written: {error.strerror or error}") from error


def _name_of(dataset: str) -> str:
    """The dataset's name as a file name; runs are named in the same way."""
    return re.sub("[^A-Za-z0-9]+", "-", dataset).strip("-") or "dataset"
