import pytest

from storage_schema.errors import InputError
from training import memory


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("8GB", 8 * 10**9), ("500 mb", 5 * 10**8), ("2GiB", 2**31), ("1.5G", None), ("2000000", 2 * 10**6), ("-1GB", None)]
    + [(text, None) for text in ("", "much", "10KB", "1e9GB", "nanGB")],
)
def test_an_amount_of_memory_is_read_or_refused_in_a_sentence(text, n_bytes):
    if n_bytes is None:
        with pytest.raises(InputError, match="write it as 8GB"):
            memory.parse_memory(text)
    else:
        assert memory.parse_memory(text) == n_bytes


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with 8 GiB free, whose control groups a test can fill in below `cgroup`."""
    (tmp_path / "meminfo").write_text("MemTotal: 16777216 kB\nMemAvailable:    8388608 kB\n")
    (tmp_path / "own").write_text("0::/\n")
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "OWN_CGROUP", tmp_path / "own")
    monkeypatch.setattr(memory, "CGROUP", tmp_path / "cgroup")
    return tmp_path


def limit(folder, most, used, names=("memory.max", "memory.current"), cache="inactive_file 0"):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in zip(names, (most, used), strict=True):
        (folder / name).write_text(f"{value}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{cache}\n")


def test_half_of_what_the_machine_has_free_is_the_default(machine):
    assert memory.free_memory() == 2**33
    assert memory.default_memory() == 2**32


@pytest.mark.parametrize("place", ["", "jobs", "jobs/this"])
def test_a_limit_on_any_group_above_the_process_holds(machine, place):
    (machine / "own").write_text("0::/jobs/this\n")
    limit(machine / "cgroup/jobs/this", "max", 0)
    limit(machine / "cgroup" / place, 3 * 2**30, 2**30, cache=f"inactive_file {2**29}")
    assert memory.free_memory() == 5 * 2**29  # what is cached can be had


def test_the_older_control_groups_are_asked_too(machine):
    (machine / "own").write_text("4:memory:/box\n1:cpu:/\n0::/\n")
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    limit(machine / "cgroup/memory/box", 2**30, 2**29, names, "total_inactive_file 0")
    limit(machine / "cgroup/memory", 2**63 - 4096, 2**29, names, "total_inactive_file 0")
    assert memory.free_memory() == 2**29
    assert memory.default_memory() == 2**28
