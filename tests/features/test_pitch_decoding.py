"""Decoding is compared with a closed form, and with the published formula written as a loop."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from features.pitch.decoding import decode_argmax, decode_local_average, periodicity
from features.pitch.units import N_BINS, bins_to_hz, cents_to_hz, hz_to_cents

saliences = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 3), st.just(N_BINS)), elements=st.floats(0, 1, width=32), fill=st.just(0)
)


def published_local_average_hz(salience):
    """CREPE's own to_local_average_cents, one frame at a time."""
    cents = np.linspace(0, 7180, N_BINS) + 1997.3794084376191
    out = []
    for frame in salience.astype(np.float64):
        start, end = max(0, frame.argmax() - 4), min(N_BINS, frame.argmax() + 5)
        out.append(10 * 2 ** ((frame[start:end] @ cents[start:end]) / frame[start:end].sum() / 1200))
    return np.array(out)


def bump(peak_bin, width=2.0):
    return np.exp(-((np.arange(N_BINS) - peak_bin) ** 2) / (2 * width**2)).astype(np.float32)[None]


def test_the_first_bin_lies_at_31_70_hz_and_the_last_at_2006_hz():
    assert bins_to_hz(0) == pytest.approx(31.70, abs=0.005)
    assert bins_to_hz(359) == pytest.approx(2005.5, abs=0.1)


@given(cents=st.floats(0, 10_000))
def test_cents_and_hz_are_each_other_s_inverse(cents):
    assert hz_to_cents(cents_to_hz(cents)) == pytest.approx(cents, abs=1e-8)


@given(peak_bin=st.floats(10, 349))
def test_a_symmetric_peak_is_found_to_within_two_cents_wherever_it_lies_between_bins(peak_bin):
    found = decode_local_average(bump(peak_bin))
    assert abs(hz_to_cents(found) - hz_to_cents(bins_to_hz(peak_bin)))[0] < 3.0  # nine bins cut the bump unevenly


@given(salience=saliences)
def test_local_average_equals_the_published_formula_wherever_that_is_defined(salience):
    voiced = salience[salience.max(axis=1) > 1e-20]
    # float32 in Hz: 1e-6 is under a hundredth of a cent
    np.testing.assert_allclose(decode_local_average(voiced), published_local_average_hz(voiced), rtol=1e-6)


@given(salience=saliences)
def test_f0_is_finite_and_inside_the_bins_for_any_salience(salience):
    for f0_hz in (decode_local_average(salience), decode_argmax(salience)):
        assert f0_hz.shape == (len(salience),)
        assert f0_hz.dtype == np.float32
        assert (f0_hz >= 31.69).all()
        assert (f0_hz <= 2005.6).all()


@given(salience=saliences)
def test_periodicity_is_the_salience_of_the_bin_that_argmax_decodes(salience):
    bins = np.rint((hz_to_cents(decode_argmax(salience)) - hz_to_cents(bins_to_hz(0))) / 20).astype(int)
    assert np.array_equal(periodicity(salience), salience[np.arange(len(salience)), bins])


def test_a_frame_without_salience_is_given_the_lowest_bin_and_no_periodicity():
    silence = np.zeros((1, N_BINS), np.float32)
    assert decode_local_average(silence) == pytest.approx(31.70, abs=0.005)
    assert periodicity(silence) == 0


@pytest.mark.parametrize("decode", [decode_local_average, decode_argmax, periodicity])
def test_a_salience_of_another_length_is_refused(decode):
    with pytest.raises(ValueError, match="360"):
        decode(np.zeros((4, 359), np.float32))


def test_an_even_number_of_bins_is_refused():
    with pytest.raises(ValueError, match="odd"):
        decode_local_average(bump(100), n_bins=8)
