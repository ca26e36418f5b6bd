"""README.md of an export: what a network was trained on, how well it does, and how to use each format.

Jinja2 fills the template, `templates/model_card.md`.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from network.model_file import FLOAT16_FILE, LABELS, MODEL_FILE, ModelFile
from network.model_structure import SIGNATURE
from system.terminal import plural, printable

if TYPE_CHECKING:
    from answers.export import Exported

SAVED_MODEL, ONNX_FILE = "saved_model", "model.onnx"
_TEMPLATES = Path(__file__).parent / "templates"
_MAX_NAMES = 4  # classes that the title names
_SPECIAL = "\\`*_{}[]<>#|&~"  # in Markdown and HTML


class _Format(NamedTuple):
    """How a format is used in Python."""

    kind: str
    package: str
    imports: str
    lines: str  # that compute `outputs` from `images`


def _litert(file: str) -> str:
    return f'run = Interpreter("{file}").get_signature_runner("{SIGNATURE}")\noutputs = run(images=images)'


_LITERT = "from ai_edge_litert.interpreter import Interpreter"
_FORMATS = {
    MODEL_FILE: _Format("LiteRT (TensorFlow Lite)", "ai-edge-litert", _LITERT, _litert(MODEL_FILE)),
    FLOAT16_FILE: _Format("LiteRT, weights in float16", "ai-edge-litert", _LITERT, _litert(FLOAT16_FILE)),
    SAVED_MODEL: _Format(
        "TensorFlow and TensorFlow Serving",
        "tensorflow",
        "import tensorflow as tf",
        f'run = tf.saved_model.load("{SAVED_MODEL}/1").signatures["{SIGNATURE}"]\n'
        "outputs = {name: value.numpy() for name, value in run(images=tf.constant(images)).items()}",
    ),
    ONNX_FILE: _Format(
        "ONNX",
        "onnxruntime",
        "import onnxruntime",
        f'session = onnxruntime.InferenceSession("{ONNX_FILE}")\n'
        'names = ["raw", "scores", "distance"]\n'
        'outputs = dict(zip(names, session.run(names, {"images": images})))',
    ),
}


def model_card(
    model: ModelFile,
    *,
    formats: Sequence["Exported"],
    count: int,
    layers: Sequence[tuple[str, str, str]],
    report: dict[str, Any] | None,
) -> str:
    """Returns the model card in Markdown. Equal networks have equal ones.

    Args:
        model: the network.
        formats: those that were exported.
        count: number of pictures on which they were compared with the engine.
        layers: name, dimensions of the output and number of weights of each layer; empty if they are not known.
        report: content of report.json about this network, or None if there is none.
    """
    names = model.model_config.class_names
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.filters["percent"] = lambda value: "–" if value is None else f"{100 * value:.1f} %"
    environment.filters["escaped"] = _escaped
    return environment.get_template("model_card.md").render(
        title=_title(names),
        config=model.model_config,
        names=names,
        step=model.step,
        calibrated=model.calibrated,
        max_distance=None if math.isinf(model.max_distance) else model.max_distance,
        formats=[(row, _FORMATS[row.name], _difference(row)) for row in formats],
        labels=LABELS,
        pictures=plural(count, "picture"),
        layers=layers,
        report=report,
    )


def _title(names: Sequence[str]) -> str:
    if len(names) > _MAX_NAMES:
        return f"A network for {len(names):,} classes of pictures"
    *first, last = map(_escaped, names)
    return f"{', '.join(first)} or {last}?"


def _difference(row: "Exported") -> str:
    return f"{row.raw_difference:.1g} (raw magnitudes), {row.score_difference:.1g} (scores)"


def _escaped(text: str) -> str:
    """Returns a name in which nothing has a meaning in Markdown or HTML."""
    return "".join(f"\\{char}" if char in _SPECIAL else char for char in printable(text))
