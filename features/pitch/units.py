"""Between CREPE's pitch bins, cents and Hz; the 360 bins are 20 cents apart and start at 31.70 Hz, near C1.

Cents are counted from 10 Hz, as in the published model. Source: Kim et al., CREPE, ICASSP 2018.
"""

import numpy as np
from numpy.typing import NDArray

N_BINS = 360
CENTS_PER_BIN = 20.0
FIRST_BIN_CENTS = 1997.3794084376191  # of bin 0 above 10 Hz; chosen by CREPE's authors
REFERENCE_HZ = 10.0


def bins_to_hz(bins: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """The frequency in Hz of pitch bins, which may be fractions; same shape."""
    return cents_to_hz(FIRST_BIN_CENTS + CENTS_PER_BIN * np.asarray(bins, dtype=np.float64))


def cents_to_hz(cents: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """The frequency in Hz that lies `cents` above 10 Hz; same shape."""
    return np.asarray(REFERENCE_HZ * 2.0 ** (np.asarray(cents, dtype=np.float64) / 1200.0))


def hz_to_cents(frequency_hz: NDArray[np.floating] | float) -> NDArray[np.float64]:
    """How many cents above 10 Hz a frequency lies; same shape. Frequencies are above zero."""
    return np.asarray(1200.0 * np.log2(np.asarray(frequency_hz, dtype=np.float64) / REFERENCE_HZ))
