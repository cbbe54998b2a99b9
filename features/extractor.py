"""What every extractor is: a pure function of waveforms, with a spec.

An extractor knows nothing of files, Dask or the store. It takes a batch of clips, because the frames of many short
clips fill a machine better than those of one; a clip's numbers never depend on its neighbours in the batch, and the
same bytes give the same numbers every time on one machine. `features.testing` holds it to that.
"""

from collections.abc import Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from storage_schema.streams import Arrays, StreamSpec

Waveform: TypeAlias = NDArray[np.float32]
"""(n_samples,) mono, at the rate of the extractor's own grid, finite, at least one sample, full scale at 1."""


class Extractor(Protocol):
    """Turns waveforms into the arrays that `spec` promises."""

    @property
    def spec(self) -> StreamSpec: ...

    def extract(self, waveforms: Sequence[Waveform]) -> list[Arrays]:
        """One `Arrays` a waveform, in order, each as `spec.check` wants it."""
        ...


@runtime_checkable
class LocalExtractor(Extractor, Protocol):
    """One whose frames depend on the samples around them alone, so that a long clip is worked through in pieces.

    `reach` is in samples: frame i depends on no sample but [i * hop - reach, i * hop + reach).
    """

    @property
    def reach(self) -> int: ...
