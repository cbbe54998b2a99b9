import numpy as np
import pytest
import torch

from training.inputs import EncoderShape
from training.joint import JointModel, drop_streams
from training.judge import score_clips
from training.model import clip_embeddings, subset_probabilities
from training.recipe import parse_recipe, recipe_to_toml
from training.run import evaluate, load_models, train

SHAPES = {
    "pitch": EncoderShape(5, 3, False, False, 2, 16, 1, 2),
    "neural": EncoderShape(6, 3, False, True, 1, 16, 1, 2),
    "waveform": EncoderShape(400, 3, True, False, 1, 16, 1, 2),
}
KINDS = ("feature", "representation", "both")


def make(kind: str) -> JointModel:
    torch.manual_seed(0)
    return JointModel(kind, SHAPES, dropout=0.0, token_mask=0.0).eval()


def batch_of(n: int = 4) -> dict[str, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    lengths = {"pitch": 8, "neural": 2, "waveform": 6}
    return {
        name: (
            torch.randn(n, lengths[name], shape.n_channels, generator=generator),
            torch.ones(n, lengths[name], dtype=torch.bool),
            torch.arange(lengths[name]).repeat(n, 1) / 40,
        )
        for name, shape in SHAPES.items()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_masked_stream_is_the_same_as_one_that_is_not_there(kind: str) -> None:
    joint, batch = make(kind), batch_of()
    inputs, mask, times_s = batch["pitch"]
    masked = joint(batch | {"pitch": (torch.full_like(inputs, 1e3), torch.zeros_like(mask), times_s)})
    without = joint({name: values for name, values in batch.items() if name != "pitch"})
    torch.testing.assert_close(masked.scores, without.scores, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(joint(batch).scores, without.scores, atol=1e-4)
    assert not masked.present["pitch"].any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_that_lacks_every_stream_still_gets_finite_scores(kind: str) -> None:
    batch = {name: (x, mask & (torch.arange(4) > 0)[:, None], t) for name, (x, mask, t) in batch_of().items()}
    heard = make(kind)(batch)
    assert torch.isfinite(heard.scores).all()
    torch.testing.assert_close(heard.scores[1:], make(kind)(batch_of()).scores[1:], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_is_used(kind: str) -> None:
    joint = make(kind)
    joint.train()
    joint(batch_of()).scores.square().sum().backward()
    unused = [name for name, values in joint.named_parameters() if values.grad is None]
    assert [name for name in unused if "hidden_token" not in name] == []


def test_dropping_streams_leaves_every_window_one() -> None:
    torch.manual_seed(0)
    dropped = drop_streams(batch_of(400), 0.6)
    there = torch.stack([mask.any(dim=1) for _, mask, _ in dropped.values()])
    assert there.any(dim=0).all()
    assert 0.3 < there.float().mean() < 0.65


@pytest.fixture(scope="module", params=KINDS)
def joint_run(request, store, recipe):
    text = recipe_to_toml(recipe.model_copy(update={"fit": recipe.fit.model_copy(update={"epochs": 8})}))
    text = text.replace('kind = "late"', f'kind = "{request.param}"').replace("contrastive = 0.0", "contrastive = 0.05")
    text = text.replace("test_folds = []", "test_folds = [1, 2]")
    run_id = f"joint-{request.param}"
    return run_id, train(store, parse_recipe(text, "a joint recipe"), device="cpu", run_id=run_id)


def test_a_joint_run_learns_and_its_checkpoint_says_the_same_again(joint_run, store) -> None:
    run_id, result = joint_run
    fusion = next(model for model in result.models if model.name == "fusion")
    assert fusion.metrics["accuracy"].value > 0.55  # of three labels, by two streams of four that tell
    assert len(fusion.curves) == result.n_folds == 2
    assert fusion.fusion_weights == {}
    again = next(model for model in evaluate(store, run_id).models if model.name == "fusion")
    assert again.metrics == fusion.metrics


def test_a_joint_model_answers_for_subsets_and_has_an_embedding(joint_run, store, recipe) -> None:
    from storage_schema.layout import run_key
    from training.corpus import load_corpus

    run_id, _ = joint_run
    corpus = load_corpus(store.snapshot(), recipe, fingerprints={})
    model = next(iter(load_models(store.files.path(run_key(run_id))).values()))
    test = corpus.folds[0].test
    whole, part = subset_probabilities(
        model, corpus.frames, test, corpus.ticks, [tuple(model.specs), ("neural", "timbre")]
    )
    np.testing.assert_allclose(whole, score_clips(model, corpus.frames, test, corpus.ticks)["fusion"], atol=1e-6)
    assert (part.argmax(axis=1) == corpus.targets[test].argmax(axis=1)).mean() > 0.55
    assert clip_embeddings(model, corpus.frames, test, corpus.ticks).shape == (len(test), recipe.model.dim)


def test_aligned_late_fusion_brings_the_streams_of_a_clip_together(store, recipe) -> None:
    from training.contrastive import info_nce
    from training.corpus import load_corpus
    from training.fit import fit_encoders, make_fabric
    from training.scoring import scoring_windows, window_embeddings

    corpus = load_corpus(store.snapshot(), recipe, fingerprints={})
    fold = corpus.folds[0]
    found = []
    for weight in (0.0, 1.0):
        asked = recipe.model_copy(update={"fusion": recipe.fusion.model_copy(update={"contrastive": weight})})
        frames = {stream: corpus.frames[stream] for stream in ("timbre", "neural")}
        fitted = fit_encoders(tuple(frames), corpus, fold.train, fold.validation[:0], asked, make_fabric("cpu"))
        windows = scoring_windows(fold.train, corpus.ticks, asked)
        made = {name: window_embeddings(fitted[name].network, frames[name], windows) for name in frames}
        present = dict.fromkeys(made, torch.ones(len(windows), dtype=torch.bool))
        found.append(float(info_nce(made, present, asked.fusion.temperature)))
    assert found[1] < 0.8 * found[0]
