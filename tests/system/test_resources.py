"""How much memory and disk there is, and what is refused."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from system import resources
from system.errors import UserError
from system.resources import format_bytes, memory_left, require_disk, require_memory
from tests.helpers.pictures import ROOT

MB = 10**6
NO_LIMIT_V1 = 9223372036854771712  # what cgroup v1 says where there is no limit


def write(path: Path, text: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{text}\n")


def write_group_v2(folder: Path, *, limit: object, used: int, cache: int = 0) -> None:
    write(folder / "memory.max", limit)
    write(folder / "memory.current", used)
    write(folder / "memory.stat", f"anon 1\ninactive_file {cache}")


def write_group_v1(folder: Path, *, limit: int, used: int, cache: int = 0) -> None:
    write(folder / "memory.limit_in_bytes", limit)
    write(folder / "memory.usage_in_bytes", used)
    write(folder / "memory.stat", f"inactive_file 1\ntotal_inactive_file {cache}")


@pytest.fixture(autouse=True)
def uses_1_mb(monkeypatch):
    monkeypatch.setattr(resources, "used_memory", lambda: MB)


def test_memory_left_is_what_the_machine_has_without_other_limits(tmp_path):
    at_most, now = memory_left(tmp_path)
    assert at_most == psutil.virtual_memory().total + psutil.swap_memory().total - MB
    assert 0 < now <= at_most + MB


def test_memory_left_is_limited_by_cgroup_v2_and_those_around_it(tmp_path):
    top = tmp_path / "sys/fs/cgroup"
    write(tmp_path / "proc/self/cgroup", "0::/user/job")
    write_group_v2(top / "user/job", limit="max", used=5 * MB)
    write_group_v2(top / "user", limit=300 * MB, used=100 * MB, cache=30 * MB)
    assert memory_left(tmp_path) == (299 * MB, 230 * MB)  # files in memory can be dropped
    write_group_v2(top / "user/job", limit=50 * MB, used=5 * MB)
    assert memory_left(tmp_path) == (49 * MB, 45 * MB)


def test_memory_left_is_limited_by_the_cgroup_v2_of_a_container(tmp_path):
    write(tmp_path / "proc/self/cgroup", "0::/")
    write_group_v2(tmp_path / "sys/fs/cgroup", limit=70 * MB, used=20 * MB)
    assert memory_left(tmp_path) == (69 * MB, 50 * MB)


def test_memory_left_is_limited_by_cgroup_v1(tmp_path):
    write(tmp_path / "proc/self/cgroup", "9:name=systemd:/\n5:cpu:/x\n4:hugetlb,memory:/a/b\n0::/")
    write_group_v1(tmp_path / "sys/fs/cgroup/memory/a/b", limit=90 * MB, used=60 * MB, cache=10 * MB)
    write_group_v1(tmp_path / "sys/fs/cgroup/memory", limit=NO_LIMIT_V1, used=0)
    assert memory_left(tmp_path) == (89 * MB, 40 * MB)


def test_memory_left_is_limited_by_the_cgroup_v1_of_a_container(tmp_path):
    write(tmp_path / "proc/self/cgroup", "4:memory:/docker/0123abcd")  # its path outside the container
    write_group_v1(tmp_path / "sys/fs/cgroup/memory", limit=80 * MB, used=30 * MB)
    assert memory_left(tmp_path) == (79 * MB, 50 * MB)


@pytest.mark.parametrize("kind", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_memory_left_is_limited_by_ulimit(kind):
    code = (
        "import resource, psutil\nfrom system.resources import memory_left\nmemory = psutil.Process().memory_info()\n"
        f"used = memory.vms + 1_100_000_000 if '{kind}' == 'RLIMIT_AS' else memory.data\n"
        f"resource.setrlimit(resource.{kind}, (used + {200 * MB}, -1))\nprint(*memory_left())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    at_most, now = map(int, done.stdout.split())
    assert at_most == now
    assert 150 * MB < now <= 200 * MB


def test_require_memory_refuses_what_is_never_there(monkeypatch, capsys):
    monkeypatch.setattr(resources, "memory_left", lambda: (1000 * MB, 500 * MB))
    require_memory(500 * MB, "buy some")
    assert capsys.readouterr().err == ""
    require_memory(1000 * MB, "buy some")
    assert capsys.readouterr().err == (
        "needs about 1.0 GB of memory, but only 0.50 GB are free: it may be slow, or ended by the system; "
        "end other programs, or buy some\n"
    )
    with pytest.raises(UserError) as error:
        require_memory(1001 * MB, "buy some")
    assert str(error.value) == (
        "needs about 1.0 GB of memory, but this machine, its container or `ulimit` allows 1.0 GB; buy some"
    )


def test_require_disk_refuses_what_does_not_fit(tmp_path, monkeypatch):
    usage = type("Usage", (), {"free": 700 * MB})
    monkeypatch.setattr(resources.shutil, "disk_usage", {tmp_path: usage}.__getitem__)
    folder = tmp_path / "new" / "folder"  # the disk is that of the nearest folder that exists
    require_disk(folder, 700 * MB, "free some")
    with pytest.raises(UserError) as error:
        require_disk(folder, 720 * MB, "free some")
    assert str(error.value) == f"{str(folder)!r}: needs 0.72 GB more of disk, but only 0.70 GB are free; free some"


def test_require_disk_asks_the_real_disk(tmp_path):
    require_disk(tmp_path, 1, "free some")
    with pytest.raises(UserError, match="more of disk"):
        require_disk(tmp_path, 10**18, "free some")


def test_format_bytes_has_about_two_digits():
    assert [format_bytes(size) for size in (12_000, 20 * MB, 994 * MB, 1120 * MB, 32_000 * MB)] == [
        "12 kB",
        "20 MB",
        "0.99 GB",
        "1.1 GB",
        "32.0 GB",
    ]
