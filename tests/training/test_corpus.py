"""What a corpus makes of clips: their lengths, whatever the files claim."""

import numpy as np
import pytest

from storage_schema.store import open_store
from tests.training.synthetic import BLOCKS, CENTRED, clip_id, clip_row, noise, put
from training.corpus import load_corpus
from training.recipe import parse_recipe

RECIPE = parse_recipe(
    '[data]\ndataset = "made"\nstreams = ["timbre", "neural"]\n[split]\nkind = "folds"\n', "the test's recipe"
)


@pytest.mark.parametrize(
    ("claimed_s", "n_ticks"),
    [
        (3.0, 3000),  # the truth
        (2.5, 2500),
        (36_000.0, 3025),  # a damaged file: no longer than its 121 frames of 25 ms
        (None, 2902),  # to the centre of the last of its three blocks of 1.16 s
    ],
)
def test_clip_is_as_long_as_its_header_says_and_its_frames_allow(tmp_path, claimed_s, n_ticks):
    store = open_store(tmp_path / "store", create=True)
    rows = [
        clip_row(f"{i}.wav", [("dog", "cat")[i % 2]], fold=1 + i % 3, source_group=str(i), duration_s=claimed_s)
        for i in range(18)
    ]
    store.merge_clips(rows)
    for spec in (CENTRED, BLOCKS):
        put(store, spec, {clip_id(row.uri): noise(spec, 3.0, np.random.default_rng(0)) for row in rows})
    corpus = load_corpus(store.snapshot(), RECIPE, fingerprints={})
    assert set(corpus.ticks.tolist()) == {n_ticks}
