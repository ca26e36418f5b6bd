"""How fast a trained network answers, and how fast it is written in other forms: rows of speed.py."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from answers.classifier import Classifier
from answers.conversion import ConvertedNetwork
from answers.model_card import SAVED_MODEL
from answers.trained_network import load_trained_network
from benchmarks.baselines.pictures import time_decoding
from benchmarks.harness.processes import ROOT, in_new_process, run_python
from benchmarks.harness.tables import Row
from benchmarks.harness.timing import (
    Measurement,
    alternate,
    format_peak,
    format_rate,
    format_seconds,
    require,
    speedup,
    timed,
)
from benchmarks.harness.workspace import CLASSES, SMALL, Workspace
from config import PictureConfig
from network.model_file import MODEL_FILE, write_model_file
from pictures.folders import picture_files

_LIBRARIES = "import cv2, numpy, PIL.Image, pillow_heif, ai_edge_litert.interpreter"  # that answering one picture needs


def time_prediction(network: Path, pictures: Path, *, count: int) -> Measurement:
    measurement, text = run_python(ROOT / "predict.py", pictures, "--model_save_name", network)
    answers = len(re.findall(rf"\b{CLASSES[0]} +\d", text))  # every line has the scores of both classes
    require(answers == count, f"{answers} answers for {count} pictures:\n{text[-2000:]}")
    return measurement


def predict_cold(workspace: Workspace) -> Iterator[Row]:
    """The whole process, with one picture; the limit is a process that imports the libraries and does nothing else."""
    picture = next(picture_files(workspace.pictures(2, *SMALL)))
    codes = {"Python alone": "", "import tensorflow": "import tensorflow", "limit": _LIBRARIES}
    imports = {name: lambda code=code: run_python("-c", code)[0] for name, code in codes.items()}
    process = partial(time_prediction, workspace.network(), picture, count=1)
    ours, alone, tensorflow, limit = alternate({"ours": process, **imports}, workspace.rounds).values()
    yield Row(
        "predict-cold",
        format_seconds(ours),
        f"importing TensorFlow: {format_seconds(tensorflow)}",
        f"{speedup(ours, tensorflow):.1f}",
        f"importing its libraries: {format_seconds(limit)}",
        f"{speedup(ours, limit):.0%}",
        f"peak memory {format_peak(ours[0])}; Python alone: {format_seconds(alone)}",
    )


def predict_folder(workspace: Workspace) -> Iterator[Row]:
    count, fewer, side = workspace.scaled(5000), workspace.scaled(1000), PictureConfig.height
    pictures, network = workspace.pictures(count, *SMALL), workspace.network()
    single = next(picture_files(pictures))

    def ours() -> Measurement:
        one = time_prediction(network, single, count=1)
        all_of_them = time_prediction(network, pictures, count=count)
        return Measurement(all_of_them.seconds - one.seconds, count - 1, count, all_of_them.peak)

    def limit() -> Measurement:
        return in_new_process(time_decoding, pictures, side, side)._replace(work=count)

    our, limits = alternate({"ours": ours, "limit": limit}, workspace.rounds).values()
    of_fewer = time_prediction(network, workspace.pictures(fewer, *SMALL), count=fewer)
    remark = f"peak memory {format_peak(our[0])} for {count} pictures, {format_peak(of_fewer)} for {fewer}"
    fraction = f"{speedup(our, limits):.0%}"
    yield Row(f"predict-folder, {count}", format_rate(our), "-", "-", format_rate(limits), fraction, remark)


def time_classifier(network: Path, pictures: Path, *, one_by_one: bool) -> Measurement:
    classifier, paths = Classifier(network), list(picture_files(pictures))
    classifier(paths[0])

    def classify() -> None:
        found = [classifier(path) for path in paths] if one_by_one else classifier(paths)
        require(len(found) == len(paths), f"{len(found)} predictions")

    return timed(classify, len(paths))


def predict_python(workspace: Workspace) -> Iterator[Row]:
    pictures, network = workspace.pictures(workspace.scaled(1000), *SMALL), workspace.network()
    ways = {
        way: partial(in_new_process, partial(time_classifier, network, pictures, one_by_one=way == "one by one"))
        for way in ("a list", "one by one")
    }
    as_list, one_by_one = alternate(ways, workspace.rounds).values()
    ratio = f"{speedup(as_list, one_by_one):.2f}"
    yield Row("predict-python", f"a list: {format_rate(as_list)}", f"one by one: {format_rate(one_by_one)}", ratio)


def time_conversion(folder: Path, work: Path) -> Measurement:
    """Converts the network of a folder of checkpoints, checks the result, and writes it to another folder."""
    network = load_trained_network(folder)
    images = np.random.default_rng(0).integers(0, 256, (48, *network.model_config.shape), np.uint8)
    expected = network.predict(images)

    def convert() -> None:
        converted = ConvertedNetwork(network)
        converted.check(images, expected)
        write_model_file(work / MODEL_FILE, converted.pack())

    return timed(convert)


def exporting(workspace: Workspace) -> Iterator[Row]:
    network = workspace.network()
    ours = [in_new_process(time_conversion, network, workspace.new_folder()) for _ in range(workspace.rounds)]
    yield Row(f"export, {MODEL_FILE}", format_seconds(ours))

    def whole() -> Measurement:
        folder = workspace.new_folder() / "export"
        measurement, text = run_python(ROOT / "predict.py", "--export", folder, "--model_save_name", network)
        require((folder / SAVED_MODEL).is_dir(), text)
        return measurement

    (all_formats,) = alternate({"ours": whole}, workspace.rounds).values()
    yield Row("export, all formats", format_seconds(all_formats), remark=f"peak memory {format_peak(all_formats[0])}")
