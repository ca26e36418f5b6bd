"""The versions of the libraries."""

import importlib
import sys

import numpy as np

from network import backend  # noqa: F401 - loads TensorFlow
from system.versions import versions


def test_versions_are_those_of_the_loaded_libraries():
    importlib.import_module("ai_edge_litert")
    found = versions()
    assert list(found) == ["python", "tensorflow", "keras", "litert", "numpy", "pillow", "opencv"]
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["numpy"] == np.__version__
