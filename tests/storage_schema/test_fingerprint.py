"""One value, one text, one hash; and what has no such text is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_schema.errors import InputError
from storage_schema.fingerprint import canonical_json, fingerprint

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e15, 1e15) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def test_fingerprint_of_a_known_value_never_changes():
    value = {"extractor": "crepe", "version": 1, "parameters": {"model": "tiny", "hop": 400}, "weights": []}
    assert canonical_json(value) == (
        '{"extractor":"crepe","parameters":{"hop":400,"model":"tiny"},"version":1,"weights":[]}'
    )
    assert fingerprint(value) == "75fd26c5062a61034875b0c1c9e160f5"


@given(plain)
def test_canonical_json_reads_back_as_what_was_written(value):
    assert json.loads(canonical_json(value)) == value


@given(st.dictionaries(st.text(), st.integers(-5, 5), min_size=2))
def test_order_of_keys_does_not_matter(value):
    backwards = dict(reversed(value.items()))
    assert canonical_json(value) == canonical_json(backwards)


def test_whole_floats_and_tuples_are_the_same_parameter():
    assert fingerprint({"hop": 400.0, "bands": (1, 2)}) == fingerprint({"hop": 400, "bands": [1, 2]})
    assert fingerprint({"on": True}) != fingerprint({"on": 1})


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": float("nan")}, r"value\.a is nan"),
        ([1, float("inf")], r"value\[1\] is inf"),
        ({"a": {1: 2}}, r"value\.a has the key 1"),
        ({"a": {1, 2}}, r"value\.a is a set"),
        (b"bytes", "value is a bytes"),
        (2**60, "beyond the integers"),
    ],
)
def test_value_without_a_canonical_form_is_refused_by_name(value, words):
    with pytest.raises(InputError, match=words):
        canonical_json(value)
