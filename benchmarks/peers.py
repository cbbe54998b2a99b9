"""The programs timbrel is compared with, as they come out of their wheels.

They are imported from a folder of their own (`PEERS`), without the dependencies they pin: torchcrepe wants torchaudio
and resampy for files and rates that are not asked of it here, and gets empty stand-ins.
"""

import sys
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from features.weights import weight_path

PEERS = Path(__file__).parents[1] / ".bench" / "peers"


def torchcrepe_network(model: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """The network of torchcrepe with its own weights: normalised frames (n, 1024) to salience (n, 360)."""
    with _importable("torchcrepe", stand_ins=("torchaudio", "resampy")):
        import torchcrepe

    torchcrepe.load.model("cpu", model)
    network = torchcrepe.infer.model

    def run(frames: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return network(frames)

    return run


def aisfx_from_file() -> Callable[[Path], NDArray[np.float32]]:
    """The published path from a file to embeddings (n_blocks, 512), by the package's defaults but no block dropped."""
    with _importable("aisfx"):
        from aisfx.models.cnn2d import EmbeddingNet
        from aisfx.preprocessing import blocking, spectrogram_normalize
        from aisfx.spectrogram.spectrogram_essentia import compute_spectrogram

    network = EmbeddingNet("max", 3, 1, 64)
    allowed: list[Any] = [(np.int64(0).__reduce__()[0], "numpy.core.multiarray.scalar"), np.dtype, np.dtypes.Int64DType]
    with torch.serialization.safe_globals(allowed):
        state = torch.load(weight_path("aisfx"), weights_only=True)[0]
    prefix = "embedding_net."
    network.load_state_dict({key.removeprefix(prefix): value for key, value in state.items() if prefix in key})
    network.eval()

    def run(path: Path) -> NDArray[np.float32]:
        spectrogram = compute_spectrogram(
            filename=str(path), sr=44100.0, block_size=2048, hop_size=1024, n_mels=96, f_min=0.0, f_max=22050.0
        )
        blocks = blocking(spectrogram_normalize(spectrogram), block_size=100, hop_size=50, drop_partial_block=False)
        with torch.no_grad():
            return network(torch.Tensor(blocks)).numpy()

    return run


def lhotse_features() -> Any:
    """Lhotse's module of storages for features."""
    with _importable("lhotse"):
        from lhotse.features import io
    return io


@contextmanager
def _importable(name: str, stand_ins: tuple[str, ...] = ()) -> Iterator[None]:
    """Within, `name` can be imported; its stand-ins are gone afterwards, or another peer would take them for real."""
    if not (PEERS / name).is_dir():
        raise SystemExit(f"{name} is not in {PEERS}; `make bench` installs it")
    if str(PEERS) not in sys.path:
        sys.path.append(str(PEERS))
    made = [stand_in for stand_in in stand_ins if stand_in not in sys.modules]
    sys.modules.update({stand_in: types.ModuleType(stand_in) for stand_in in made})
    try:
        yield
    finally:
        for stand_in in made:
            del sys.modules[stand_in]
