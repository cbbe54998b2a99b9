"""From a salience over pitch bins to one fundamental frequency and one periodicity a frame; no network, no state."""

import numpy as np
from numpy.typing import NDArray

from features.pitch.units import CENTS_PER_BIN, FIRST_BIN_CENTS, N_BINS, cents_to_hz


def decode_local_average(salience: NDArray[np.float32], n_bins: int = 9) -> NDArray[np.float32]:
    """Return one f0 per frame: the salience-weighted mean pitch, in cents, of the bins around the peak.

    salience: (frame, 360) in [0, 1]; bin 0 lies at 31.70 Hz, bins are 20 cents apart. `n_bins` is odd; at an end of the
    bins there are fewer. Among equal peaks the lowest counts; a frame without any salience is given its peak, bin 0.
    Returns (frame,) float32 in Hz for voiced and unvoiced frames alike; read it with the periodicity.
    Raises ValueError where the bin axis is not 360 long, or `n_bins` is even.
    Source: Kim et al., CREPE, ICASSP 2018; without torchcrepe's random dither, so that two runs agree.
    """
    _check(salience)
    if n_bins < 1 or n_bins % 2 == 0:
        raise ValueError(f"a peak has as many bins on either side, so n_bins is odd, not {n_bins}")
    peak = salience.argmax(axis=1)
    around = peak[:, None] + np.arange(-(n_bins // 2), n_bins // 2 + 1)  # (frame, n_bins), may leave [0, 360)
    near = np.take_along_axis(salience, around.clip(0, N_BINS - 1), axis=1).astype(np.float64)
    weight = np.where((around >= 0) & (around < N_BINS), near, 0.0)
    total = weight.sum(axis=1)
    # Bins are counted from the peak, so that nothing but the weights is rounded.
    offset = (weight * (around - peak[:, None])).sum(axis=1) / np.where(total > 0.0, total, 1.0)
    return cents_to_hz(FIRST_BIN_CENTS + CENTS_PER_BIN * (peak + offset)).astype(np.float32)


def decode_argmax(salience: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return one f0 per frame: the frequency in Hz of its highest bin; otherwise as `decode_local_average`."""
    return decode_local_average(salience, n_bins=1)


def periodicity(salience: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how sure the network is that a frame has a pitch: its highest salience, (frame,) float32 in [0, 1].

    Raises ValueError where the bin axis is not 360 long.
    """
    _check(salience)
    highest: NDArray[np.float32] = salience.max(axis=1)
    return highest


def _check(salience: NDArray[np.float32]) -> None:
    if salience.ndim != 2 or salience.shape[1] != N_BINS:
        raise ValueError(f"a salience is (frame, {N_BINS}), not {salience.shape}")
