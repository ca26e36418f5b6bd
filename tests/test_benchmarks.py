"""The benchmarks are run rarely, so what they import may be renamed without anybody noticing."""

import importlib
import os
import re

import numpy as np
import pytest

from benchmarks.harness.processes import in_new_processes
from benchmarks.time_to_accuracy import as_accurate
from tests.helpers.pictures import ROOT

MODULES = sorted(".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "benchmarks").rglob("*.py"))


@pytest.mark.parametrize("module", MODULES)
def test_every_module_of_the_benchmarks_can_be_imported(module):
    importlib.import_module(module)


def test_the_table_of_commands_is_complete():
    text = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    described = re.findall(r"^\| `python -m benchmarks\.(\w+)` \|", text, re.MULTILINE)
    commands = {
        path.stem
        for path in (ROOT / "benchmarks").glob("*.py")
        if "run_script(main" in path.read_text(encoding="utf-8")
    }
    assert sorted(described) == sorted(commands)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system cannot bind processes to cores")
def test_jobs_at_the_same_time_have_cores_of_their_own():
    cores = os.sched_getaffinity(0)
    if len(cores) == 1:
        pytest.skip("there is only one core")
    first, second = set(map(frozenset, in_new_processes(os.sched_getaffinity, [(0,)] * 3, n_jobs=2)))
    assert first | second == cores
    assert not first & second


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system cannot bind processes to cores")
@pytest.mark.parametrize("n_jobs", [1, 1000])
def test_a_single_job_or_more_jobs_than_cores_have_all_cores(n_jobs):
    assert in_new_processes(os.sched_getaffinity, [(0,)] * 2, n_jobs=n_jobs) == [os.sched_getaffinity(0)] * 2


@pytest.mark.parametrize("correct", [46, 47])  # of 48, which float32 rounds down and up
def test_an_accuracy_reaches_the_same_fraction_in_float32(correct):
    goal = float(np.float32(correct / 48))
    assert as_accurate(correct / 48, goal)
    assert not as_accurate((correct - 1) / 48, goal)
