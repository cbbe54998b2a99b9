"""Models from the Hugging Face hub, through its own cache; with no network, what lies in that cache already."""

import os
from collections.abc import Sequence
from pathlib import Path

from features.brought.extras import require_extra
from storage_schema.errors import InputError

PATIENCE_S = 10.0
"""How long the hub may take to answer at all; a download takes as long as it takes."""


def fetch_from_hub(hub_id: str, patterns: Sequence[str]) -> Path:
    """A local folder with the files of the hub's model `hub_id` that match `patterns`.

    What the hub's cache holds is taken where the hub does not answer. Raises InputError after some seconds where that
    holds nothing, and where the hub has no such model or does not give it.
    """
    require_extra("hf", "huggingface_hub")
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    endpoint = os.environ.get("HF_ENDPOINT")  # the library reads it once, as it is imported
    try:
        revision = HfApi(endpoint=endpoint).model_info(hub_id, timeout=PATIENCE_S).sha
        return Path(snapshot_download(hub_id, revision=revision, endpoint=endpoint, allow_patterns=list(patterns)))
    except Exception as unreachable:  # of its own kinds, of its transport's, or of the system's
        try:
            return Path(snapshot_download(hub_id, local_files_only=True, allow_patterns=list(patterns)))
        except Exception:
            reason = next(iter(str(unreachable).strip().splitlines()), type(unreachable).__name__)
            raise InputError(
                f"the model {hub_id} could not be had from the hub: {type(unreachable).__name__}: {reason}. See that "
                "the id is right and that there is a network, or name a local folder with the model's files"
            ) from unreachable
