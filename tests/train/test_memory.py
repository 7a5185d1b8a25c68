"""Freed memory is kept where that was asked for, and given back on demand."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource
import torch
from anyformer.train.memory import keep_freed_memory, return_freed_memory

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(1 << 24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

torch.ones(1 << 24)
fresh = faults()
assert keep_freed_memory()
torch.ones(1 << 24)
kept = faults()
before = resident()
return_freed_memory()
print(fresh, kept, before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told")
def test_large_tensors_reuse_memory_until_it_is_returned() -> None:
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    fresh, kept, returned = map(int, result.stdout.split())
    assert kept < fresh / 4
    assert returned > 30 << 20
