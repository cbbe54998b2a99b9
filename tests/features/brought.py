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


def save_tiny_clap(folder, *, fusion=False, nested=False, words=False):
    """A CLAP of random weights and some 100 kB.

    nested: its feature extractor stands in processor_config.json. words: it brings a tokenizer, a byte a token.
    """
    import torch
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    config = ClapConfig(
        text_config={
            "vocab_size": 300,
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
            "max_position_embeddings": 64,
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
    if words:
        save_tokenizer(folder)
    if nested:
        preprocessor = folder / "preprocessor_config.json"
        (folder / "processor_config.json").write_text(
            json.dumps({"feature_extractor": json.loads(preprocessor.read_text()), "processor_class": "ClapProcessor"})
        )
        preprocessor.unlink()
    return folder


def save_tokenizer(folder, first=()):
    """RoBERTa's, that of CLAP, without merges; `first`: tokens in front of its alphabet, which shift all others."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import RobertaTokenizer

    tokens = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *first, *sorted(ByteLevel.alphabet())]
    RobertaTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=[]).save_pretrained(folder)


def save_tiny_encoder(folder, kind):
    """An audio encoder of random weights, `kind` "wav2vec2", "hubert", "whisper" or "ast"; 16 kHz, 16 numbers."""
    import torch
    import transformers
    from transformers.utils import logging

    logging.disable_progress_bar()
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind in {"wav2vec2", "hubert"}:
            layers = {"conv_dim": (8, 8, 8), "conv_stride": (5, 8, 8), "conv_kernel": (10, 8, 12)}
            layers |= {"num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2, "do_stable_layer_norm": True}
            layers |= {"feat_extract_norm": "layer", "num_feat_extract_layers": 3}
            config, model = {
                "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model),
                "hubert": (transformers.HubertConfig, transformers.HubertModel),
            }[kind]
            model(config(**size, **layers)).eval().save_pretrained(folder)
            preprocess = transformers.Wav2Vec2FeatureExtractor(sampling_rate=16_000, do_normalize=True)
        elif kind == "whisper":
            config = transformers.WhisperConfig(
                d_model=16,
                encoder_layers=1,
                decoder_layers=1,
                encoder_attention_heads=2,
                decoder_attention_heads=2,
                encoder_ffn_dim=16,
                decoder_ffn_dim=16,
                num_mel_bins=8,
                max_source_positions=50,
                max_target_positions=8,
                vocab_size=20,
                pad_token_id=0,
                bos_token_id=1,
                eos_token_id=2,
                decoder_start_token_id=1,
            )
            transformers.WhisperModel(config).eval().save_pretrained(folder)
            preprocess = transformers.WhisperFeatureExtractor(feature_size=8, chunk_length=1)
        else:
            config = transformers.ASTConfig(**size, max_length=64, num_mel_bins=16, patch_size=8)
            transformers.ASTModel(config).eval().save_pretrained(folder)
            preprocess = transformers.ASTFeatureExtractor(num_mel_bins=16, max_length=64)
    preprocess.save_pretrained(folder)
    return folder


def tiny_onnx(*, shape=(1, 8_000), rate_hz=16_000, dim=4, pooled=True):
    """An ONNX model of random weights: a convolution every 10 ms, its power, and the mean over time unless not pooled.

    shape: of the input, with None for an axis that may vary; rate_hz: what its metadata say, None for nothing.
    """
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(0).normal(0, 0.2, (dim, 1, 400)).astype(np.float32)
    axes = [size if size is not None else f"axis_{i}" for i, size in enumerate(shape)]
    nodes = [
        helper.make_node("Reshape", ["waveform", "as_one_channel"], ["channel"]),
        helper.make_node("Conv", ["channel", "weight"], ["filtered"], strides=[160]),
        helper.make_node("Abs", ["filtered"], ["power"]),
        helper.make_node("ReduceMean", ["power", "time"], ["pooled"], keepdims=0),
        helper.make_node("Transpose", ["power"], ["frames"], perm=[0, 2, 1]),
    ]
    outputs = {"pooled": (1, dim), "frames": (1, "steps", dim)}
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, axes)],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, outputs[name])
            for name in (["pooled"] if pooled else ["pooled", "frames"])
        ],
        [
            numpy_helper.from_array(np.array([1, 1, -1]), "as_one_channel"),
            numpy_helper.from_array(np.array([2]), "time"),
            numpy_helper.from_array(weight, "weight"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    if rate_hz is not None:
        helper.set_model_props(model, {"sample_rate_hz": str(rate_hz)})
    return model


def bring_for(stream, folder):
    """What `model` of a stream may be, of bytes that are always the same."""
    if stream == "onnx":
        return str(save_onnx(folder, tiny_onnx()))
    config = CONFIG if stream == "clap" else {"model_type": "wav2vec2", "hidden_size": DIM}
    return str(write_model(folder, config=config))


def save_onnx(folder, model, name="model.onnx"):
    """The file with `model` in `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(model.SerializeToString())
    return folder / name
