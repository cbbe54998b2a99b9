"""Labels as CLAP embeds them: each in one sentence, in the space of its sounds."""

from collections.abc import Mapping, Sequence

import numpy as np

from features.brought.bundle import find_bundle
from features.brought.pretrained import load_pretrained
from features.brought.sources import TOKENIZER
from storage_schema.errors import InputError
from storage_schema.fingerprint import fingerprint
from storage_schema.labels import LabelEmbeddings
from storage_schema.streams import StreamSpec

PROMPT = "This is a sound of {}."
"""Of the CLAP papers; Wu et al., ICASSP 2023."""


def words_read_by(spec: StreamSpec) -> Mapping[str, str]:
    """What turns words into numbers, the prompt among it, by hash; nothing where there is no tokenizer."""
    files = find_bundle(str(spec.parameters["model"])).files
    there = {name: files[name].sha256 for name in TOKENIZER if name in files}
    can_read = "tokenizer.json" in there or {"vocab.json", "merges.txt"} <= set(there)
    return {**there, "prompt": fingerprint({"prompt": PROMPT})} if can_read else {}


def embed_labels(spec: StreamSpec, labels: Sequence[str]) -> LabelEmbeddings:
    """What the model of `spec` makes of "This is a sound of dog bark." for the label dog_bark, and so on.

    Each is asked alone, so that no label's numbers depend on another's. Raises InputError where the model or its
    tokenizer cannot be loaded.
    """
    import torch  # here, because whether there is anything to embed is asked more often

    name = str(spec.parameters["model"])
    model, tokenizer = load_pretrained(name, "ClapModel", "AutoTokenizer")
    prompts = tuple(PROMPT.format(label.replace("_", " ")) for label in labels)
    longest = model.config.text_config.max_position_embeddings - 2  # RoBERTa counts places from 2
    vectors = []
    for prompt in prompts:
        words = tokenizer(prompt, truncation=True, max_length=longest, return_tensors="pt")
        try:
            with torch.inference_mode():
                vector = model.get_text_features(**words).pooler_output[0].numpy()
        except (IndexError, TypeError) as error:  # a tokenizer of another model
            raise InputError(f"the tokenizer of the model {name} does not fit it: {error}") from error
        vectors.append(vector / np.linalg.norm(vector))
    scale = float(model.logit_scale_a.detach().exp())
    return LabelEmbeddings(tuple(labels), prompts, np.array(vectors, np.float32), scale, words_read_by(spec))
