"""The benchmarks are run rarely, so what they import may be renamed without anybody noticing."""

import importlib
import re

import pytest

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
