import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from storage_schema.errors import InputError, StoreError
from storage_schema.store import Store
from tests.training.synthetic import CENTRED, clip_id
from training.checkpoint import DOCUMENT, TENSORS, load_checkpoint, save_checkpoint
from training.predict import predict
from training.results import RunResult
from training.run import METRICS, read_result
from training.sealed import blake2b, sealed, unsealed


@pytest.fixture
def copy(run_folder: Path, tmp_path: Path) -> Path:
    """A fold's checkpoint that a test may damage."""
    return Path(shutil.copytree(run_folder / "fold_1", tmp_path / "fold_1"))


def test_a_checkpoint_written_again_is_the_same(copy: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    save_checkpoint(again, load_checkpoint(copy))
    for name in (TENSORS, DOCUMENT):
        assert (again / name).read_bytes() == (copy / name).read_bytes()


def test_scores_of_loaded_models_equal_those_of_the_run(store: Store, result: RunResult, run_folder: Path) -> None:
    import pyarrow.parquet as pq

    table = pq.read_table(run_folder / "predictions.parquet").to_pylist()
    line = next(line for line in table if line["uri"] == "dog/0.wav" and line["model"] == "fusion")
    predictor = predict(run_folder)
    one_fold = type(predictor)((load_checkpoint(run_folder / f"fold_{line['fold']}"),))
    snapshot = store.snapshot()
    features = {stream: snapshot.stream(stream).read(clip_id("dog/0.wav")) for stream in predictor.specs}
    np.testing.assert_allclose(one_fold.score(features, 1.0), line["probabilities"], atol=1e-4)
    assert predictor.labels == result.labels
    assert predictor.score(features, 1.0).shape == (3,)
    mean = np.mean([type(predictor)((model,)).score(features, 1.0) for model in predictor.models], axis=0)
    np.testing.assert_allclose(predictor.score(features, 1.0), mean, atol=1e-6)


def test_features_of_another_fingerprint_or_shape_are_refused(run_folder: Path) -> None:
    predictor = predict(run_folder)
    predictor.check(predictor.specs)
    with pytest.raises(InputError, match="models hear stream timbre with fingerprint"):
        predictor.check({**predictor.specs, "timbre": type(CENTRED)(**{**vars(CENTRED), "version": 2})})
    with pytest.raises(InputError, match="pitch, neural, waveform did not come"):
        predictor.score({"timbre": {"descriptors": np.zeros((3, 6), np.float32)}}, 1.0)


def test_a_flipped_byte_is_noticed(copy: Path) -> None:
    content = bytearray((copy / TENSORS).read_bytes())
    content[-1] ^= 1
    (copy / TENSORS).write_bytes(content)
    with pytest.raises(StoreError, match=r"model.safetensors is not the file that model.json describes"):
        load_checkpoint(copy)


def forge(copy: Path, **changes: object) -> None:
    """Change the document, keeping all hashes honest."""
    document = unsealed((copy / DOCUMENT).read_bytes())
    document |= {"tensors_blake2b": blake2b((copy / TENSORS).read_bytes()), **changes}
    (copy / DOCUMENT).write_bytes(sealed(document))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"labels": ["bell", "dog"]}, r"the tensor stream/pitch/classify.weight is float32 \(3, 12\), where"),
        ({"format": 9}, "has format 9, this timbrel reads 4"),
        ({"weights": {"pitch": 1.0}}, "its weights are of"),
        ({"surprise": 1}, "is no model description .surprise: "),
        ({"baselines": {}}, "tensors that nothing asks for"),
        ({"fingerprints": {}}, "another is named"),
    ],
)
def test_a_document_that_does_not_fit_its_tensors_is_refused(
    copy: Path, changes: dict[str, object], sentence: str
) -> None:
    forge(copy, **changes)
    with pytest.raises(StoreError, match=sentence):
        load_checkpoint(copy)


@pytest.mark.parametrize("damage", ["shape", "missing", "dtype", "nan"])
def test_tensors_that_do_not_fit_the_document_are_refused(copy: Path, damage: str) -> None:
    tensors = load_file(copy / TENSORS)
    key = "stream/timbre/tokenize.front.weight"
    if damage == "missing":
        del tensors[key]
    else:
        tensors[key] = {
            "shape": tensors[key][:, :1].copy(),
            "dtype": tensors[key].astype(np.float64),
            "nan": np.full_like(tensors[key], np.nan),
        }[damage]
    save_file(tensors, copy / TENSORS)
    forge(copy)
    with pytest.raises(StoreError, match=f"the tensor {key}"):
        load_checkpoint(copy)


def test_an_edited_task_is_not_believed(copy: Path) -> None:
    text = (copy / DOCUMENT).read_text()
    (copy / DOCUMENT).write_text(text.replace('"single_label"', '"multi_label"'))
    with pytest.raises(StoreError, match=r"is no model description: it was changed after it was written"):
        load_checkpoint(copy)


@pytest.mark.parametrize(("name", "read"), [(DOCUMENT, load_checkpoint), (METRICS, read_result)])
def test_a_pipe_in_place_of_a_file_is_not_waited_on(tmp_path: Path, name: str, read) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(StoreError, match="it is no regular file"):
        read(tmp_path)


def test_a_pickle_in_place_of_tensors_is_never_opened(copy: Path) -> None:
    torch.save({"a": torch.zeros(1)}, copy / TENSORS)
    forge(copy)
    with pytest.raises(StoreError, match="contradicts itself"):
        load_checkpoint(copy)


def test_a_missing_checkpoint_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        load_checkpoint(tmp_path)
    with pytest.raises(StoreError, match="there are no models in"):
        predict(tmp_path)
