"""The machine that is measured on, and whether the ceilings still do what the hub does."""
import os
import platform
import statistics
import time

import ctext

SYNCS, SYNC_BYTES = 200, 4096
BUSY_FROM, BUSY = 0.7, "; other programs take part of the machine, so the figures are worth little"


def _first(path, key):
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith(key):
                return line.split(":", 1)[1].strip()
    return "unknown"


def _filesystem(folder):
    """The type of the file system that holds the folder."""
    best = ("", "unknown")
    with open("/proc/mounts", encoding="utf-8") as lines:
        for line in lines:
            _, place, kind = line.split()[:3]
            if (folder + "/").startswith(place.rstrip("/") + "/") and len(place) >= len(best[0]):
                best = (place, kind)
    return best[1]


def _sync_us(folder):
    """Median microseconds to append 4 KiB and sync it."""
    path, taken = os.path.join(folder, "sync"), []
    with open(path, "wb", buffering=0) as file:
        for _ in range(SYNCS):
            start = time.perf_counter()
            file.write(b"x" * SYNC_BYTES)
            os.fsync(file.fileno())
            taken.append((time.perf_counter() - start) * 1e6)
    os.unlink(path)
    return statistics.median(taken)


def facts(folder):
    busy = os.getloadavg()[0]
    memory_kb = int(_first("/proc/meminfo", "MemTotal").split()[0])
    return {
        "cpu": f"{len(os.sched_getaffinity(0))} cores, {_first('/proc/cpuinfo', 'model name')}",
        "memory": f"{memory_kb / 1e6:.1f} GB",
        "kernel": platform.release(),
        "disk": f"{_filesystem(folder)}, append and sync of 4 KiB: p50 {_sync_us(folder):.0f} us",
        "load": f"{busy:.2f} processes before the start" + (BUSY if busy > BUSY_FROM else ""),
    }


def drifted(root):
    """The SQL texts of benchmarks/statements.h that src/core and src/db do not hold any more, one sentence each."""
    def texts(path):
        with open(os.path.join(root, path), encoding="utf-8") as file:
            # a macro's line ends are no more than spaces between two literals
            return list(ctext.literals(ctext.without_comments(file.read().replace("\\\n", "  \n"))))
    known = {value for path in ctext.files(root, ["src/core", "src/db"], (".c",)) for _, value in texts(path)}
    mine = [(line, value) for line, value in texts("benchmarks/statements.h") if " " in value]
    return [f"benchmarks/statements.h:{line}: src holds this no more: {value[:90]}" for line, value in mine
            if value not in known] or ([] if mine else ["benchmarks/statements.h holds no statement"])
