"""The versions of the libraries that have a part in a result."""

import platform
import sys

# Their modules. Not their packages, which have other names elsewhere: opencv-python, tensorflow-cpu.
_LIBRARIES = {
    "tensorflow": "tensorflow",
    "keras": "keras",
    "litert": "ai_edge_litert",
    "numpy": "numpy",
    "pillow": "PIL",
    "opencv": "cv2",
}


def versions() -> dict[str, str]:
    """Returns the version of Python and of each library that has a part in the result: of those that are loaded."""
    loaded = {name: sys.modules[module] for name, module in _LIBRARIES.items() if module in sys.modules}
    return {"python": platform.python_version(), **{name: library.__version__ for name, library in loaded.items()}}
