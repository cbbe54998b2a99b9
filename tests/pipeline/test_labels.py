"""Labels are embedded where a model knows words: once each, and anew where it reads them differently."""

import numpy as np
import pytest

from features.brought.bundle import find_bundle
from features.registry import spec_for
from pipeline.ingest import ingest
from pipeline.labels import write_labels
from storage_schema.layout import labels_key
from tests.features.brought import save_tiny_clap, save_tokenizer
from tests.features.conftest import brought_cache  # noqa: F401 - a fixture
from tests.pipeline.conftest import WAVEFORM, write_sine

pytestmark = pytest.mark.usefixtures("brought_cache")


def embedded(store, spec):
    return store.snapshot().label_embeddings("clap", spec.fingerprint)


def test_labels_are_embedded_once_and_new_ones_added(store, audio, tmp_path):
    spec = spec_for("clap", {"model": str(save_tiny_clap(tmp_path / "model", words=True))})
    assert write_labels(store, [WAVEFORM, spec]) == ["clap: 2 labels embedded"]
    first = embedded(store, spec)
    assert first.labels == ("high", "low")
    assert write_labels(store, [spec]) == []
    write_sine(audio / "a_new_one" / "x.wav", 777)
    ingest(store, "folder", audio)
    assert write_labels(store, [spec]) == ["clap: 1 label embedded"]
    assert embedded(store, spec).labels == ("high", "low", "a_new_one")
    np.testing.assert_array_equal(embedded(store, spec).vectors[:2], first.vectors)


def test_labels_read_in_another_way_or_damaged_are_embedded_anew(store, tmp_path):
    folder = save_tiny_clap(tmp_path / "model", words=True)
    spec = spec_for("clap", {"model": str(folder)})
    write_labels(store, [spec])
    first = embedded(store, spec)
    save_tokenizer(folder, first=("\u2581",))
    assert spec_for("clap", {"model": str(folder)}) == spec  # sound is heard as before
    assert write_labels(store, [spec]) == ["clap: 2 labels embedded"]
    assert np.abs(embedded(store, spec).vectors - first.vectors).max() > 1e-3
    store.files.write(labels_key("clap", spec.fingerprint), b"damaged")
    assert write_labels(store, [spec]) == ["clap: 2 labels embedded"]
    assert embedded(store, spec).labels == ("high", "low")


def test_a_tokenizer_that_cannot_be_used_is_a_sentence_and_costs_the_words_alone(store, tmp_path):
    folder = save_tiny_clap(tmp_path / "model", words=True)
    (folder / "tokenizer.json").write_text("{}")
    spec = spec_for("clap", {"model": str(folder)})
    (said,) = write_labels(store, [spec])
    assert said.startswith("clap: the labels are not embedded: the model sha256:")
    assert embedded(store, spec) is None
    assert "tokenizer.json" in find_bundle(spec.parameters["model"]).files


def test_a_model_that_knows_no_words_is_left_alone(store, tmp_path):
    spec = spec_for("clap", {"model": str(save_tiny_clap(tmp_path / "model"))})
    assert write_labels(store, [spec]) == []
    assert embedded(store, spec) is None
