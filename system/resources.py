"""How much memory and disk a process can have, and refusing work that needs more.

psutil knows the machine; the limits of containers and of `ulimit` are read here, since it does not know them.
"""

import contextlib
import shutil
import sys
from pathlib import Path

import psutil

from system.errors import UserError

with contextlib.suppress(ImportError):  # Windows has no such limits
    import resource

_NO_LIMIT = sys.maxsize
_RESERVED = 1_100_000_000  # addresses that threads and allocators reserve and do not use, as seen in training


def used_memory() -> int:
    """Returns the memory that this process takes now, in bytes."""
    return psutil.Process().memory_info().rss


def memory_left(root: Path = Path("/")) -> tuple[int, int]:
    """Returns how many more bytes this process can take: at most, and while other processes keep what they have.

    The least of what the machine, its container and `ulimit` allow; swap space counts. `root` is that of the system.
    """
    machine, swap = psutil.virtual_memory(), psutil.swap_memory()
    limits = _process_limits()
    cgroups = _cgroups(root)
    at_most = [machine.total + swap.total, *(limit for limit, _ in cgroups)]
    now = [machine.available + swap.free, *(limit - used for limit, used in cgroups)]
    return min(min(at_most) - used_memory(), *limits), min(*now, *limits)


def require_memory(growth: int, remedy: str) -> None:
    """Raises UserError if this process can never take so many bytes more; warns if it cannot take them now.

    It is not refused in the second case, because what other processes take changes, and the need is an estimate.

    Args:
        growth: bytes that this process will take in addition to what it has.
        remedy: what to do, for the end of the message.
    """
    at_most, now = memory_left()
    needed = format_bytes(growth + used_memory())
    if growth > at_most:
        allowed = format_bytes(max(0, at_most) + used_memory())
        raise UserError(
            f"needs about {needed} of memory, but this machine, its container or `ulimit` allows {allowed}; {remedy}"
        )
    if growth > now:
        free = format_bytes(max(0, now) + used_memory())
        print(
            f"needs about {needed} of memory, but only {free} are free: it may be slow, or ended by the system; "
            f"end other programs, or {remedy}",
            file=sys.stderr,
        )


def require_disk(folder: Path, size: int, remedy: str) -> None:
    """Raises UserError if fewer than `size` bytes are free on the disk of a folder, which need not exist yet."""
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if size > free:
        raise UserError(
            f"{str(folder)!r}: needs {format_bytes(size)} more of disk, but only {format_bytes(free)} are free; "
            f"{remedy}"
        )


def format_bytes(size: int) -> str:
    """Returns a number of bytes as text, such as `1.2 GB`, with about two digits."""
    if size < 1e6:
        return f"{size / 1e3:.0f} kB"
    if size < 1e8:
        return f"{size / 1e6:.0f} MB"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e9:.2f} GB"


def _process_limits() -> list[int]:
    """Returns how many more bytes the limits of this process (`ulimit -v` and `-d`) allow."""
    if "resource" not in globals():
        return [_NO_LIMIT]
    memory = psutil.Process().memory_info()
    used = {resource.RLIMIT_AS: memory.vms + _RESERVED, resource.RLIMIT_DATA: getattr(memory, "data", memory.rss)}
    limits = {kind: resource.getrlimit(kind)[0] for kind in used}
    return [limits[kind] - used[kind] for kind in used if limits[kind] != resource.RLIM_INFINITY] or [_NO_LIMIT]


def _cgroups(root: Path) -> list[tuple[int, int]]:
    """Returns the limits of the control groups that hold this process, in bytes, each with what is taken of it.

    Linux gives containers and services their memory by such groups (https://docs.kernel.org/admin-guide/cgroup-v2.html,
    and cgroup-v1/memory.html). Files that the kernel keeps in memory and can drop do not count as taken.
    """
    found = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            top = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        # In a container the path may be that outside of it; then the group itself is at the top.
        group = top / path.lstrip("/")
        for folder in (group, *(parent for parent in group.parents if parent.is_relative_to(top))):
            limit, used = _read(folder / names[0]).strip(), _read(folder / names[1]).strip()
            if limit.isdecimal() and used.isdecimal():
                statistics = dict(line.split() for line in _read(folder / "memory.stat").splitlines())
                found.append((int(limit), max(0, int(used) - int(statistics.get(names[2], 0)))))
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
