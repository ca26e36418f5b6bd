"""Measures how fast everything is, compared with other ways of doing the same and with what the machine can do.

    python -m benchmarks.speed
    python -m benchmarks.speed training-10 augment --size 0.1
    python -m benchmarks.speed --size 0.005 --rounds 1     a quick try

All pictures are made from parts of those in `--raw_data`. Ours and the others take turns, each time in a new process:
ours, another, ours, another… Figures are medians over the rounds, and a ratio is the median of the ratios of the
rounds; above 1, ours is faster. Both sides must have done the same work. A dash means that there is no sensible limit
or other way.

    training-10, training-64    pictures of `data/` → trained weights, at a batch size; limit: see harness/machine.py
    preprocess-12mp, -small     JPEGs of 12 and 0.15 megapixels → `data/`; limit: decoding alone, reduced, in threads
    preprocess-again            `preprocessing.py` if nothing has changed, compared with its first run
    augment                     `augment.py` compared with Augmentor's own `sample`: the whole process
    start                       `trainer.py` until its first steps return (up to 16 are executed at a time)
    predict-cold                `predict.py` with one picture: the whole process
    predict-folder              `predict.py` with many pictures, less the time for one; limit: as for preprocess-small
    predict-python              `Classifier` in a Python program: a list of pictures, and one call for each
    export                      building `model.tflite`, and the whole process of `predict.py --export`
    growth                      each script with more and more small pictures, less the time for 400, and its memory
    reports                     fraction of a default run that TensorBoard and report.html take, and their sizes
    gpu                         `trainer.py` on the original's whole job: 7,620 pictures, 300 epochs, batches of 10
"""

import contextlib
import io
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np

import trainer
from benchmarks.answering import exporting, predict_cold, predict_folder, predict_python, time_prediction
from benchmarks.baselines.pictures import time_decoding, time_imread_resize_imwrite
from benchmarks.baselines.training import HAS_PYTORCH, time_original, time_pytorch, time_textbook_keras
from benchmarks.harness import first_steps
from benchmarks.harness.machine import has_gpu
from benchmarks.harness.options import Size, select
from benchmarks.harness.processes import ROOT, folder_arguments, in_new_process, run_python, time_script
from benchmarks.harness.steps import time_ours
from benchmarks.harness.tables import Row, format_header, format_row
from benchmarks.harness.timing import (
    Measurement,
    alternate,
    format_peak,
    format_rate,
    format_seconds,
    median_rate,
    require,
    speedup,
    timed,
)
from benchmarks.harness.training import config_in
from benchmarks.harness.workspace import CLASSES, SMALL, Workspace
from config import Count, PictureConfig, TrainConfig
from pictures.folders import picture_files
from pictures.manifest import MANIFEST, TRAIN, VALIDATION
from preprocessing import preprocess
from reports import finished
from reports.report_files import HTML_REPORT
from reports.tensorboard import TensorBoard
from system.errors import EXIT_SUCCESS
from system.resources import format_bytes
from system.script import run_script
from system.validation import Validated

_LARGE = (3000, 4000)
_FEW = 400  # pictures: with so few, a script shows what it takes to start; enough for a batch of 256
_MAX_DIFFERENCE = 16  # of 255, the mean difference of pixels. Plain resizing skips pixels, so there is some.


@dataclass(frozen=True, kw_only=True)
class SpeedConfig(Validated):
    """What to measure."""

    # What to measure
    experiments: tuple[str, ...] = ()  # Their names, such as training-10; all if none is given.
    size: Size = 1.0  # Factor of all numbers of pictures and steps.
    rounds: Count = 3  # How often each side is measured.
    raw_data: str = "rawdata"  # Folder of pictures, of parts of which all pictures of the benchmark are made.


# ---- training ----

_TRAINERS = {"ours": time_ours, "textbook Keras": time_textbook_keras, "the original's way": time_original}
if HAS_PYTORCH:
    _TRAINERS["PyTorch"] = time_pytorch


def time_training(way: str, data: Path, work: Path, batch_size: int, steps: int) -> Measurement:
    """Trains in one of the ways on a ready-made `data/`."""
    config = replace(config_in(work, work / "raw", batch_size=batch_size), data_path=str(data))
    return _TRAINERS[way](config, steps)


def training(workspace: Workspace, *, batch_size: int, step_count: int) -> Iterator[Row]:
    # All batches are full, at either batch size, so that all sides train on the same number of pictures in a step.
    data = workspace.pictures(workspace.scaled(7680, multiple=640), 100, 100, ".png")
    steps = max(32, workspace.scaled(step_count))
    ways = {
        way: partial(in_new_process, time_training, way, data, workspace.new_folder(), batch_size, steps)
        for way in _TRAINERS
    }
    measurements = alternate(ways, workspace.rounds)
    arithmetic, memory = workspace.machine.limit(batch_size)
    seconds = max(arithmetic, memory)
    limit = f"{batch_size / seconds:,.0f} img/s"
    remark = f"limit of a step: arithmetic {1000 * arithmetic:.1f} ms, memory {1000 * memory:.1f} ms"
    if not HAS_PYTORCH:
        remark += "; PyTorch is not installed, so it is left out"
    ours = measurements.pop("ours")
    fraction = f"{median_rate(ours) * seconds / batch_size:.0%}"
    for way, others in measurements.items():
        ratio = f"{speedup(ours, others):.2f}"
        name, other = f"training-{batch_size}", f"{way}: {format_rate(others)}"
        yield Row(name, format_rate(ours), other, ratio, limit, fraction, remark)
        remark = ""


# ---- preprocessing and augmenting ----


def time_preprocessing(raw: Path, work: Path) -> Measurement:
    with contextlib.redirect_stdout(io.StringIO()):
        config = PictureConfig(raw_data=str(raw), augmented=f"{work}/augmented", data_path=f"{work}/data")
        measurement = timed(lambda: preprocess(config), len(list(picture_files(raw))))
    images = [cv2.imread(str(path)) for path in picture_files(work / "data") if path.suffix == ".png"]
    (shape,) = {image.shape for image in images}
    return measurement._replace(work=(len(images), *shape[:2]))


def preprocessing(workspace: Workspace, *, name: str, count: int, size: tuple[int, int]) -> Iterator[Row]:
    raw, side = workspace.pictures(workspace.scaled(count), *size), PictureConfig.height
    our_folder, other_folder = workspace.new_folder(), workspace.new_folder()
    ways = {
        "ours": lambda: in_new_process(time_preprocessing, raw, Path(tempfile.mkdtemp(dir=our_folder))),
        "imread, resize, imwrite": lambda: in_new_process(time_imread_resize_imwrite, raw, other_folder, side, side),
        "limit": lambda: in_new_process(time_decoding, raw, side, side),
    }
    ours, others, limit = alternate(ways, workspace.rounds).values()
    our_data = next(our_folder.iterdir()) / "data"
    differences = [
        mean_difference(path, our_data / f"{path.relative_to(other_folder)}.png")
        for path in picture_files(other_folder)
    ]
    require(max(differences) < _MAX_DIFFERENCE, f"pixels differ by {max(differences):.1f} of 255 on average")
    mean_size = np.mean([path.stat().st_size for path in picture_files(raw)])
    yield Row(
        name,
        format_rate(ours),
        f"imread, resize, imwrite: {format_rate(others)}",
        f"{speedup(ours, others):.2f}",
        format_rate(limit),
        f"{speedup(ours, limit):.0%}",
        f"{mean_size / 1e6:.3f} MB per file; mean difference of pixels {np.mean(differences):.1f} of 255",
    )


def mean_difference(path: Path, other: Path) -> float:
    return float(np.abs(cv2.imread(str(path)).astype(int) - cv2.imread(str(other))).mean())


def preprocess_again(workspace: Workspace) -> Iterator[Row]:
    count = workspace.scaled(100_000)
    folders = folder_arguments(workspace.pictures(count, 32, 32), workspace.new_folder())
    arguments = [*folders, "--height", "32", "--width", "32"]
    first = time_script("preprocessing.py", *arguments)

    def again() -> Measurement:
        measurement, text = run_python(ROOT / "preprocessing.py", *arguments)
        require(f" {count:,} pictures, " in text and "(unchanged)" in text, text)
        return measurement

    (ours,) = alternate({"ours": again}, workspace.rounds).values()
    ratio = statistics.median(first.seconds / measurement.seconds for measurement in ours)
    yield Row("preprocess-again", format_seconds(ours), f"the first run: {format_seconds([first])}", f"{ratio:.1f}")


def augmenting(workspace: Workspace) -> Iterator[Row]:
    raw, per_class = workspace.pictures(100, *SMALL), workspace.scaled(500)

    def ours() -> Measurement:
        work = workspace.new_folder()
        measurement = time_script("augment.py", *folder_arguments(raw, work), "--sample", str(per_class))
        return counted(measurement, work / "augmented")

    def others() -> Measurement:
        copies, count = workspace.new_folder(), per_class * len(CLASSES)
        measurement, _ = run_python("-m", "benchmarks.baselines.augmentor", raw, copies, str(count))
        return counted(measurement, copies)

    def counted(measurement: Measurement, copies: Path) -> Measurement:
        count = len(list(picture_files(copies)))
        return measurement._replace(count=count, work=count)

    our, other = alternate({"ours": ours, "sample": others}, workspace.rounds).values()
    ratio = f"{speedup(our, other):.2f}"
    yield Row("augment", format_rate(our), f"Augmentor's sample: {format_rate(other)}", ratio)


# ---- from the start of a process ----


def compare_with_import(workspace: Workspace, name: str, process: Callable[[], Measurement]) -> Row:
    """Compares a process with one that only imports TensorFlow; the remark says how long each part of it takes."""
    parts = {"Python alone": "", "import tensorflow": "import tensorflow", "import trainer": "import trainer"}
    imports = {part: lambda code=code: run_python("-c", code)[0] for part, code in parts.items()}
    measurements = alternate({"all of it": process, **imports}, workspace.rounds)
    ours, tensorflow = measurements["all of it"], measurements["import tensorflow"]
    more = statistics.median(own.seconds - other.seconds for own, other in zip(ours, tensorflow, strict=True))
    limit = f"importing TensorFlow: {format_seconds(tensorflow)}"
    remark = ", ".join(f"{part}: {format_seconds(own)}" for part, own in measurements.items())
    fraction = f"{speedup(ours, tensorflow):.0%}"
    return Row(name, f"{format_seconds(ours)}, {more:.2f} s more", "-", "-", limit, fraction, remark)


def start(workspace: Workspace) -> Iterator[Row]:
    def until_first_steps(arguments: list[str | Path]) -> Measurement:
        arguments = [*arguments, "--model_save_name", workspace.new_folder()]
        measurement, text = run_python("-m", first_steps.__name__, *arguments, expected=first_steps.EXIT_CODE)
        found = re.search(r"([\d,]+) to train, ([\d,]+) to validate", text)
        require(bool(found) and sum(int(number.replace(",", "")) for number in found.groups()) == count, text)
        return measurement

    count = workspace.scaled(7620)
    pictures = workspace.pictures(count, 100, 100, ".png")
    ready_made = ["--raw_data", f"{workspace.new_folder()}/none", "--data_path", pictures]
    preprocessed = folder_arguments(pictures, workspace.new_folder())
    time_script("preprocessing.py", *preprocessed)
    for what, arguments in {"in a ready-made data/": ready_made, "already preprocessed": preprocessed}.items():
        name = f"start, {count} pictures, {what}"
        yield compare_with_import(workspace, name, partial(until_first_steps, arguments))


# ---- growth with the number of pictures ----


def growth(workspace: Workspace) -> Iterator[Row]:
    def time_scripts(count: int) -> dict[str, Measurement]:
        """Runs every script on this many pictures."""
        raw, work = workspace.pictures(count, 32, 32), workspace.new_folder()
        smallest = [*folder_arguments(raw, work), "--height", "16", "--width", "16"]
        network = work / "network"
        one_epoch = ["--model_save_name", network, "--epochs", "1", "--batch_size", "256"]
        measurements = {
            "preprocessing.py": time_script("preprocessing.py", *smallest),
            "preprocessing.py, again": time_script("preprocessing.py", *smallest),
            "trainer.py, one epoch": time_script("trainer.py", *smallest, *one_epoch),
            "predict.py": time_prediction(network, raw, count=count),
        }
        manifest = format_bytes(Path(work, "data", MANIFEST).stat().st_size)
        print(f"  {count} pictures: {MANIFEST} {manifest}; {measurements}", file=sys.stderr, flush=True)
        return measurements

    counts = [_FEW, *(_FEW + workspace.scaled(count) for count in (1000, 10_000, 100_000))]
    rounds = [[time_scripts(count) for count in counts] for _ in range(workspace.rounds)]
    for name in rounds[0][0]:
        # For each count, the seconds that one picture takes, in each round.
        per_picture = [
            [(one[index][name].seconds - one[0][name].seconds) / (count - _FEW) for one in rounds]
            for index, count in enumerate(counts[1:], start=1)
        ]
        figures = [
            f"{1e6 * statistics.median(own):,.0f} µs per picture, {format_peak(rounds[0][index][name])}"
            for index, own in enumerate(per_picture, start=1)
        ]
        for count, own, figure in zip(counts[1:], per_picture, figures, strict=True):
            # Compared with the middle count, since the time of the first is small compared with the noise of starting.
            ratio = statistics.median(middle / other for middle, other in zip(per_picture[1], own, strict=True))
            yield Row(f"growth, {count:,}: {name}", figure, f"{counts[2]:,}: {figures[1]}", f"{ratio:.2f}")


# ---- the rest ----


def time_reports(work: Path, raw_data: str, epochs: int) -> dict[str, Measurement]:
    """Returns the seconds that TensorBoard's callback and the report take in a default run.

    The count of a measurement is the number of bytes, and its work the seconds of the whole run.
    """
    seconds = {"tensorboard": 0.0, "report": 0.0}

    def with_clock(name: str, function: Callable) -> Callable:
        def call(*arguments, **keywords):
            start = time.perf_counter()
            function(*arguments, **keywords)
            seconds[name] += time.perf_counter() - start

        return call

    for method in ("on_train_begin", "on_epoch_end", "finish"):
        setattr(TensorBoard, method, with_clock("tensorboard", getattr(TensorBoard, method)))
    finished.write_run_report = with_clock("report", finished.write_run_report)
    config = config_in(work, raw_data, epochs=epochs)
    with contextlib.redirect_stdout(io.StringIO()):
        whole = timed(lambda: trainer.main(config))
    folder = Path(config.model_save_name)
    files = {
        "tensorboard": [path for log in (TRAIN, VALIDATION) for path in (folder / log).iterdir()],
        "report": [folder / HTML_REPORT],
    }
    sizes = {name: sum(path.stat().st_size for path in paths) for name, paths in files.items()}
    require(all(sizes.values()), f"nothing was written: {sizes}")
    return {name: Measurement(seconds[name], count=sizes[name], work=whole.seconds) for name in seconds}


def reports(workspace: Workspace) -> Iterator[Row]:
    epochs = workspace.scaled(TrainConfig.epochs)
    rounds = [
        in_new_process(time_reports, workspace.new_folder(), workspace.raw_data, epochs)
        for _ in range(workspace.rounds)
    ]
    for name in rounds[0]:
        measurements = [one[name] for one in rounds]
        fraction = statistics.median(measurement.seconds / measurement.work for measurement in measurements)
        whole = statistics.median(measurement.work for measurement in measurements)
        size = format_bytes(measurements[0].count)
        remark = f"{format_seconds(measurements)} of {whole:.2f} s, default settings, at most {epochs} epochs"
        yield Row(f"reports, {name}", f"{fraction:.2%} of a run, {size}", remark=remark)


def gpu(workspace: Workspace) -> Iterator[Row]:
    if not in_new_process(has_gpu):
        yield Row("gpu", "no GPU here")
        return
    count, epochs = 9526, workspace.scaled(300)  # a fifth of them are for validation, which leaves 7,620
    data = workspace.pictures(count, 100, 100, ".png")
    folders = ["--raw_data", f"{workspace.new_folder()}/none", "--data_path", data]
    length = ["--epochs", str(epochs), "--patience", str(epochs)]
    arguments = [*folders, "--model_save_name", workspace.new_folder(), *length]
    measurement, text = run_python(ROOT / "trainer.py", *arguments)
    require("7,620 to train" in text, text)
    remark = "the original's author waited 8 hours on his machine"
    yield Row(f"gpu, {epochs} epochs", format_seconds([measurement]), remark=remark)


EXPERIMENTS: dict[str, Callable[[Workspace], Iterator[Row]]] = {
    "training-10": partial(training, batch_size=10, step_count=240),
    "training-64": partial(training, batch_size=64, step_count=96),
    "preprocess-12mp": partial(preprocessing, name="preprocess-12mp", count=40, size=_LARGE),
    "preprocess-small": partial(preprocessing, name="preprocess-small", count=2000, size=SMALL),
    "preprocess-again": preprocess_again,
    "augment": augmenting,
    "start": start,
    "predict-cold": predict_cold,
    "predict-folder": predict_folder,
    "predict-python": predict_python,
    "export": exporting,
    "growth": growth,
    "reports": reports,
    "gpu": gpu,
}


def main(config: SpeedConfig) -> int:
    names = select(config.experiments, EXPERIMENTS)
    remarks = []
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder), raw_data=config.raw_data, size=config.size, rounds=config.rounds)
        print(f"{workspace.machine}; size {config.size:g}, {config.rounds} rounds\n")
        print(format_header("experiment", "ours", "other", "ratio", "limit", "fraction of the limit"), flush=True)
        for name in names:
            for row in EXPERIMENTS[name](workspace):
                *cells, remark = row
                print(format_row(*cells), flush=True)
                remarks += [f"- {row.name}: {remark}"] if remark else []
    print("", *remarks, sep="\n")
    return EXIT_SUCCESS


if __name__ == "__main__":
    run_script(main, SpeedConfig, __doc__)
