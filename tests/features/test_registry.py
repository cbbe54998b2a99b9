import json
from pathlib import Path

import pytest

from features.registry import DEFAULT_STREAMS, STREAMS, load_extractor, spec_for
from storage_schema.errors import InputError
from storage_schema.streams import StreamSpec
from tests.features.brought import bring_for

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "fingerprints.json").read_text())


def test_the_golden_file_knows_every_stream():
    assert sorted(GOLDEN) == sorted(STREAMS)
    assert len(GOLDEN) == 8
    assert set(DEFAULT_STREAMS) <= set(STREAMS)


@pytest.mark.parametrize("stream", sorted(GOLDEN))
def test_the_default_fingerprint_is_the_one_that_stores_already_hold(stream, brought_cache, tmp_path):
    # A new fingerprint means days of extraction for whoever has a store: change it only where numbers change.
    parameters = {"model": bring_for(stream, tmp_path / "model")} if STREAMS[stream].needs_model else {}
    assert spec_for(stream, parameters).fingerprint == GOLDEN[stream]


def test_an_unknown_stream_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="pitch, timbre, neural, waveform, logmel"):
        spec_for("chroma")


def test_an_unknown_parameter_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="hop_s; it has model, hop, decoder"):
        spec_for("pitch", {"hop_s": 0.025})


def test_a_spec_of_another_version_is_refused_with_both_fingerprints():
    spec = spec_for("waveform")
    newer = StreamSpec.from_json(spec.to_json().replace('"version":1', '"version":2'))
    with pytest.raises(InputError, match=f"{newer.fingerprint}.*{spec.fingerprint}"):
        load_extractor(newer)
