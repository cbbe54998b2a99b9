"""The aiSFX embedding, against the published package taken out of its own wheel."""

import types
from collections.abc import Callable
from pathlib import Path

import essentia
import numpy as np
import pytest
import soundfile
import torch
import torch.nn.functional as F

from features.neural.aisfx import AisfxEmbedding
from features.neural.network import BLOCKS_PER_BATCH, Convolution, Network, embed_blocks, fold_network, load_network
from features.neural.spec import aisfx_spec
from features.neural.winograd import convolve_and_rectify, make_winograd
from features.weights import WEIGHTS, Weight, fetch, weight_path
from storage_schema.errors import ContractError
from tests.features.conftest import TEST_DATA

essentia.log.infoActive = False

RATE_HZ = 44_100
HOP = 51_200
N_CLIPS = 10

PUBLISHED_SOURCES = tuple(
    Weight(
        name=f"aisfx-source-{Path(member).stem}",
        wheel=WEIGHTS["aisfx"].wheel,
        member=member,
        sha256=sha256,
        n_bytes=n_bytes,
        licence="MIT, and AGPL-3.0 where a header says so",
        source="the published package's own code",
    )
    for member, sha256, n_bytes in (
        ("aisfx/models/cnn2d.py", "74b342b9c0cd9a513da3ce8544e890d297ec8bb34e4c7e773fffc6912b0657b1", 5_446),
        (
            "aisfx/spectrogram/spectrogram_essentia.py",
            "684cbb32216a1ea9e0ad31cd080d372411a839a0c209afad5bd9f2f6b7d675f7",
            6_036,
        ),
        ("aisfx/preprocessing.py", "becab7654b3a3f4806d91f998ce491104c965f671f3ed14c4cbc53da17b28fcd", 2_933),
    )
)
"""Its code is run here, so it is held to its hash like any weight."""


def noise(n_samples: int, seed: int = 0) -> np.ndarray:
    return (0.3 * np.random.default_rng(seed).standard_normal(n_samples)).clip(-1, 1).astype(np.float32)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(axis=-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


@pytest.fixture(scope="module")
def extractor() -> AisfxEmbedding:
    return AisfxEmbedding(aisfx_spec())


@pytest.fixture(scope="module")
def network() -> Network:
    return load_network(weight_path("aisfx"))


@pytest.fixture(scope="module")
def published() -> dict[str, types.ModuleType]:
    """The modules of the published package by name, run from the wheel's source without installing it."""
    modules = {}
    for source in PUBLISHED_SOURCES:
        name = Path(source.member).stem
        modules[name] = types.ModuleType(f"published_{name}")
        exec(compile(fetch(source).read_text(), source.member, "exec"), modules[name].__dict__)
    return modules


@pytest.fixture(scope="module")
def published_network(published: dict[str, types.ModuleType]) -> torch.nn.Module:
    network: torch.nn.Module = published["cnn2d"].EmbeddingNet("max", 3, 1, 64)
    network.load_state_dict(
        {key.removeprefix("embedding_net."): value for key, value in checkpoint().items() if "embedding_net" in key}
    )
    return network.eval()


@pytest.fixture(scope="module")
def published_embedding(
    published: dict[str, types.ModuleType], published_network: torch.nn.Module
) -> Callable[[Path], np.ndarray]:
    """The published path from a file to embeddings, as `aisfx.inference.main` goes it with its defaults."""
    preprocessing = published["preprocessing"]

    def embed(path: Path) -> np.ndarray:
        spectrogram = published["spectrogram_essentia"].compute_spectrogram(
            filename=str(path), sr=44100.0, block_size=2048, hop_size=1024, n_mels=96, f_min=0.0, f_max=22050.0
        )
        spectrogram = preprocessing.spectrogram_normalize(spectrogram)
        blocks = preprocessing.blocking(spectrogram, block_size=100, hop_size=50, drop_partial_block=False)
        with torch.inference_mode():
            return published_network(torch.Tensor(blocks)).numpy()

    return embed


def checkpoint() -> dict[str, torch.Tensor]:
    allowed = [(np.int64(0).__reduce__()[0], "numpy.core.multiarray.scalar"), np.dtype, np.dtypes.Int64DType]
    with torch.serialization.safe_globals(allowed):
        return torch.load(weight_path("aisfx"), weights_only=True)[0]


def test_folded_network_equals_the_published_one(network: Network, published_network: torch.nn.Module) -> None:
    block = torch.rand(100, 96, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        theirs = published_network(block[None])[0]
    # Values reach 30; the folding rounds each weight once, which was measured to move them by 1e-5.
    torch.testing.assert_close(embed_blocks(network, block[None])[0], theirs, atol=1e-4, rtol=0)


def embed_plainly(convolutions: tuple[Convolution, ...], block: torch.Tensor) -> torch.Tensor:
    """The network with every convolution as PyTorch has it, on one block (100, 96)."""
    x = block[None, None]
    for index, convolution in enumerate(convolutions):
        x = F.conv2d(x, convolution.weight, convolution.bias, padding=1).relu()
        if index in (1, 3, 5):
            x = F.max_pool2d(x, 2)
    return x.mean(dim=3).amax(dim=2)[0]


def test_winograd_s_convolutions_equal_pytorch_s(network: Network) -> None:
    blocks = torch.rand(BLOCKS_PER_BATCH + 1, 100, 96, generator=torch.Generator().manual_seed(1))
    expected = torch.stack([embed_plainly(fold_network(checkpoint()), block) for block in blocks])
    # Values reach 33; sums of float32 inputs explain 2e-5.
    torch.testing.assert_close(embed_blocks(network, blocks), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 7), (12, 12), (25, 24)])
def test_a_winograd_convolution_of_any_size_equals_pytorch_s(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(2)
    x, weight = torch.randn(2, 3, *size, generator=generator), torch.randn(5, 3, 3, 3, generator=generator)
    bias = torch.randn(5, generator=generator)
    expected = F.conv2d(x, weight, bias, padding=1).relu().permute(0, 2, 3, 1)
    for n_tiles in (1, 8, 1000):
        found = convolve_and_rectify(make_winograd(weight, bias), x.permute(0, 2, 3, 1), n_tiles)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_a_silent_block_is_what_the_network_says_of_zeros(extractor: AisfxEmbedding, network: Network) -> None:
    clip = np.concatenate([noise(HOP), np.zeros(6 * HOP, np.float32), noise(HOP)])
    found = extractor.extract([clip])[0]["embedding"]
    of_zeros = embed_blocks(network, torch.zeros(1, 100, 96))[0].numpy().astype(np.float16)
    np.testing.assert_array_equal(found[2:5], np.tile(of_zeros, (3, 1)))
    assert not np.array_equal(found[6], of_zeros)


def test_embedding_equals_the_published_package_on_recordings(
    extractor: AisfxEmbedding, published_embedding: Callable[[Path], np.ndarray], tmp_path: Path
) -> None:
    recordings = sorted((TEST_DATA / "esc10" / "audio").glob("*.ogg"))[::40][:N_CLIPS]
    assert len(recordings) == N_CLIPS
    similarities = []
    for recording in recordings:
        waveform, sample_rate_hz = soundfile.read(recording, dtype="float32")
        assert sample_rate_hz == RATE_HZ
        soundfile.write(tmp_path / "clip.wav", waveform, RATE_HZ, subtype="FLOAT")
        theirs = published_embedding(tmp_path / "clip.wav")
        ours = extractor.extract([waveform])[0]["embedding"]
        assert len(ours) == len(theirs) + 1  # the published blocks end where the last one is full for the first time
        similarities.append(cosine(ours[: len(theirs)], theirs))
    assert np.concatenate(similarities).min() > 0.9999


@pytest.mark.parametrize(("n_samples", "n_blocks"), [(1, 1), (HOP, 1), (HOP + 1, 2), (3 * HOP, 3)])
def test_every_sample_belongs_to_a_block(extractor: AisfxEmbedding, n_samples: int, n_blocks: int) -> None:
    arrays = extractor.extract([noise(n_samples)])[0]
    assert arrays["embedding"].shape == (n_blocks, 512)
    extractor.spec.check(arrays, n_samples)


def test_the_last_partial_block_is_heard(extractor: AisfxEmbedding) -> None:
    waveform = noise(HOP + 5000)
    quiet_end = waveform.copy()
    quiet_end[HOP + 2000 :] = 0
    with_end, without_end = (clip["embedding"] for clip in extractor.extract([waveform, quiet_end]))
    assert not np.array_equal(with_end[1], without_end[1])


def test_a_block_depends_on_its_own_samples_alone(extractor: AisfxEmbedding) -> None:
    waveform = noise(4 * HOP)
    changed = waveform.copy()
    changed[: 2 * HOP - 1024] = 0  # block 2 looks at [2 hop - 1024, 4 hop)
    whole, partly = (clip["embedding"] for clip in extractor.extract([waveform, changed]))
    np.testing.assert_array_equal(whole[2:], partly[2:])
    assert not np.array_equal(whole[1], partly[1])


def test_a_long_clip_equals_its_blocks_cut_out(extractor: AisfxEmbedding) -> None:
    waveform = noise(6 * HOP)
    whole = extractor.extract([waveform])[0]["embedding"]
    later = extractor.extract([waveform[2 * HOP :]])[0]["embedding"]
    # Only the first block of a piece misses the 1,024 samples before it.
    np.testing.assert_array_equal(whole[3:], later[1:])


def test_float16_holds_the_embedding_of_the_loudest_sounds(network: Network) -> None:
    for block in (torch.full((100, 96), 1.1), torch.eye(100, 96) * 1.1, torch.rand(100, 96) * 1.1):
        assert embed_blocks(network, block[None])[0].max() < 1000  # float16 ends at 65,504


def test_folding_refuses_weights_of_another_network() -> None:
    with pytest.raises(ContractError, match=r"conv_block1\.conv1"):
        fold_network({})
    state = dict(checkpoint())
    state["embedding_net.conv_block2.conv1.weight"] = torch.zeros(128, 64, 5, 5)
    with pytest.raises(ContractError, match="shape"):
        fold_network(state)
