"""Models for the tests to bring: one that only looks like a CLAP, and a tiny CLAP that transformers itself saves."""

import json

RATE_HZ = 48_000
WINDOW_S = 1
DIM = 8

CONFIG = {"model_type": "clap", "projection_dim": DIM}
PREPROCESSOR = {"feature_extractor_type": "ClapFeatureExtractor", "sampling_rate": RATE_HZ, "max_length_s": WINDOW_S}


def write_model(folder, config=CONFIG, preprocessor=PREPROCESSOR, weights=b"not even safetensors"):
    """A folder with the files of a CLAP, good enough for a spec and nothing more."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def save_tiny_clap(folder, *, fusion=False, nested=False):
    """A CLAP of random weights and some 100 kB; `nested`: its feature extractor stands in processor_config.json."""
    import torch
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    config = ClapConfig(
        text_config={
            "vocab_size": 50,
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "max_position_embeddings": 40,
        },
        audio_config={
            "window_size": 4,
            "num_mel_bins": 16,
            "spec_size": 32,
            "patch_embeds_hidden_size": 8,
            "depths": [1, 1],
            "num_attention_heads": [2, 2],
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "patch_size": 4,
            "patch_stride": [4, 4],
            "enable_fusion": fusion,
        },
        projection_dim=DIM,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ClapModel(config).eval().save_pretrained(folder)
    ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=RATE_HZ,
        max_length_s=WINDOW_S,
        hop_length=960,
        truncation="fusion" if fusion else "rand_trunc",
    ).save_pretrained(folder)
    if nested:
        preprocessor = folder / "preprocessor_config.json"
        (folder / "processor_config.json").write_text(
            json.dumps({"feature_extractor": json.loads(preprocessor.read_text()), "processor_class": "ClapProcessor"})
        )
        preprocessor.unlink()
    return folder
