"""Loading a Hugging Face model that was brought: from the cache, without the network, and without code of its own."""

from collections.abc import Collection
from typing import Any

from features.brought.bundle import verified_folder
from features.brought.extras import require_extra
from storage_schema.errors import InputError


def load_pretrained(
    name: str, model_class: str, preprocess_class: str, may_lack: Collection[str] = ()
) -> tuple[Any, Any]:
    """The model called `name` as float32 in eval mode, and its feature extractor; both of classes of transformers.

    may_lack: the last names of weights that play no part where nothing is learned.
    Raises InputError where the bundle is not whole or cannot be loaded.
    """
    folder = verified_folder(name)
    require_extra("hf", "transformers")
    import torch
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        model, report = getattr(transformers, model_class).from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            attn_implementation="eager",  # a config may name code on the hub here
            dtype=torch.float32,
            output_loading_info=True,
        )
        preprocess = getattr(transformers, preprocess_class).from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # the library raises anything
        reason = next(iter(str(error).strip().splitlines()), "it gives no reason")
        raise InputError(f"the model {name} cannot be loaded: {type(error).__name__}: {reason}") from error
    missing = sorted(key for key in report["missing_keys"] if key.rpartition(".")[2] not in may_lack)
    if missing:
        raise InputError(f"the model {name} lacks the weights {', '.join(missing[:3])}")
    return model.eval(), preprocess
