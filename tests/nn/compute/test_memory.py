"""Freed memory that stays with the process."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import torch
from recbench.nn.compute.memory import keep_freed_memory

torch.set_num_threads(1)
assert sys.argv[1] == "as it comes" or keep_freed_memory()


def batch():
    parts = [torch.ones(2**18) for _ in range(24)]
    return sum(float(part[0]) for part in parts)


batch(), batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have other rules")
def test_a_batch_finds_the_memory_of_the_one_before() -> None:
    faults = {
        name: int(subprocess.run([sys.executable, "-c", PROGRAM, name], capture_output=True, text=True, check=True).stdout)
        for name in ("kept", "as it comes")
    }
    # 20 batches of 24 MiB are 122,880 pages of 4 KiB.
    assert faults["kept"] < 1_000, faults
    if faults["as it comes"] < 1_000:
        pytest.skip(f"this system hands memory out without a fault for each page: {faults}")
