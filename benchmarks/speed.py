"""How fast everything is, beside other ways of doing the same and beside what the machine allows, as one table.

    python benchmarks/speed.py
    python benchmarks/speed.py --rows training-10 augment --size 0.1

All pictures are made for it from pieces of those in `--raw_data`. Ours and the others take turns, each time in a
process of its own: ours, another, ours, another… Figures are medians over the rounds, and a ratio is the median of the
ratios of the rounds; above 1, ours is faster. That both sides did the same work is checked. What has no sensible limit
or other way shows a dash.

    training-10, training-64    pictures of `data/` → trained weights, at a batch size; limit: see steps.py
    preprocess-12mp, -small     JPEGs of 12 and 0.15 megapixels → `data/`; limit: decoding alone, reduced, in threads
    preprocess-again            `preprocessing.py` when nothing has changed, beside its first time
    augment                     `augment.py` beside Augmentor's own `sample`, of all the process from its start
    start                       `trainer.py` from its start until its first steps come back (up to 16 go at a time)
    predict-cold                `predict.py` on one picture, all of the process
    predict-folder              `predict.py` on many pictures, beyond what one takes; limit: as for preprocess-small
    growth                      each script on more and more small pictures, beyond what 40 take, and its peak memory
    tensorboard                 share of a training run that writing for TensorBoard takes
    gpu                         `trainer.py` through the original's whole job: 7,620 pictures, 300 epochs, batches of 10
"""

import contextlib
import io
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

from common import alone, settings_in

# isort: split

import cv2
import numpy as np
import tensorflow as tf

import config as settings
import peers
import steps
import trainer
from bench import (
    CLASSES,
    TOP,
    Bench,
    code,
    in_seconds,
    median,
    megabytes,
    per_second,
    places,
    ratio,
    require,
    run_process,
    script,
)
from config import Between, Checked, Count, PictureConfig, UserError
from peers import Run
from preprocessing import preprocess, visible_files
from summaries import Summaries

_SMALL = (338, 450)  # height and width of 0.15 megapixels
_LARGE = (3000, 4000)
_FEW = 40  # pictures: a script that is asked for so few shows what it takes to start


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(Checked):
    """What to measure."""

    rows: tuple[str, ...] = ()  # Names of the rows, such as training-10; all of them if none is given.
    size: Annotated[float, Between(0.001, 100)] = 1.0  # Factor of all numbers of pictures and steps.
    rounds: Count = 3  # How many times each side is measured.
    raw_data: str = "rawdata"  # Folder of pictures whose pieces all pictures of the benchmark are made of.


class Line(NamedTuple):
    """One line of the table; the remark stands below it."""

    row: str
    ours: str
    peer: str = "-"
    ratio: str = "-"
    limit: str = "-"
    share: str = "-"
    remark: str = ""


# ---- the rows ----


def training(bench: Bench, *, batch_size: int, step_count: int) -> Iterator[Line]:
    # No batch of it is a part, at either batch size, so that all sides train on as many pictures in a step.
    data = bench.pictures(bench.scaled(7680, multiple=640), 100, 100, ".png")
    count = max(32, bench.scaled(step_count))
    sides = {way: partial(alone, steps.measure, way, data, bench.fresh(), batch_size, count) for way in steps.WAYS}
    runs = bench.alternate(sides)
    arithmetic, memory = bench.machine.floor(batch_size)
    floor = max(arithmetic, memory)
    limit = f"{batch_size / floor:,.0f} img/s"
    remark = f"limit of a step: arithmetic {1000 * arithmetic:.1f} ms, memory {1000 * memory:.1f} ms"
    if "PyTorch" not in runs:
        remark += "; PyTorch is not installed, so it is left out"
    ours = runs.pop("ours")
    share = f"{median([run.rate for run in ours]) * floor / batch_size:.0%}"
    for way, theirs in runs.items():
        peer = f"{way}: {per_second(theirs)}"
        yield Line(f"training-{batch_size}", per_second(ours), peer, f"{ratio(ours, theirs):.2f}", limit, share, remark)
        remark = ""


def our_preprocessing(raw: Path, work: Path) -> Run:
    with contextlib.redirect_stdout(io.StringIO()):
        count = len(list(visible_files(raw)))
        config = PictureConfig(raw_data=str(raw), augmented=f"{work}/augmented", data_path=f"{work}/data")
        run = peers.timed(lambda: preprocess(config), count)
    images = [cv2.imread(str(path)) for path in visible_files(work / "data") if path.suffix == ".png"]
    (shape,) = {image.shape for image in images}
    return run._replace(work=(len(images), *shape[:2]))


def preprocessing(bench: Bench, *, row: str, count: int, size: tuple[int, int]) -> Iterator[Line]:
    raw, side = bench.pictures(bench.scaled(count), *size), PictureConfig.height
    ours_at, theirs_at = bench.fresh(), bench.fresh()
    sides = {
        "ours": lambda: alone(our_preprocessing, raw, Path(tempfile.mkdtemp(dir=ours_at))),
        "imread, resize, imwrite": lambda: alone(peers.one_after_another, raw, theirs_at, side, side),
        "limit": lambda: alone(peers.decode_alone, raw, side, side),
    }
    ours, theirs, limit = bench.alternate(sides).values()
    first = next(ours_at.iterdir()) / "data"
    differences = [
        float(
            np.abs(cv2.imread(str(path)).astype(int) - cv2.imread(f"{first / path.relative_to(theirs_at)}.png")).mean()
        )
        for path in visible_files(theirs_at)
    ]
    # Plain resizing leaves out pixels between, so the two can't be equal.
    require(max(differences) < 16, f"pixels differ by {max(differences):.1f} of 255 on average")
    yield Line(
        row,
        per_second(ours),
        f"imread, resize, imwrite: {per_second(theirs)}",
        f"{ratio(ours, theirs):.2f}",
        per_second(limit),
        f"{ratio(ours, limit):.0%}",
        f"{mean_size(raw) / 1e6:.3f} MB a file; mean difference of pixels {np.mean(differences):.1f} of 255",
    )


def mean_size(raw: Path) -> float:
    return float(np.mean([path.stat().st_size for path in visible_files(raw)]))


def preprocess_again(bench: Bench) -> Iterator[Line]:
    count = bench.scaled(100_000)
    arguments = [*places(bench.pictures(count, 32, 32), bench.fresh()), "--height", "32", "--width", "32"]
    first = script("preprocessing.py", *arguments)

    def again() -> Run:
        run, text = run_process(TOP / "preprocessing.py", *arguments)
        require(f"{count} pictures; nothing has changed" in text, text)
        return run

    (ours,) = bench.alternate({"ours": again}).values()
    rate = median([first.seconds / run.seconds for run in ours])
    yield Line("preprocess-again", in_seconds(ours), f"the first time: {in_seconds([first])}", f"{rate:.1f}")


def augmenting(bench: Bench) -> Iterator[Line]:
    raw, per_class = bench.pictures(100, *_SMALL), bench.scaled(500)
    total = per_class * len(CLASSES)

    def ours() -> Run:
        work = bench.fresh()
        return made(script("augment.py", *places(raw, work), "--sample", str(per_class)), work / "augmented")

    def theirs() -> Run:
        copies = bench.fresh()
        return made(
            code("import sys, peers; peers.sample(*sys.argv[1:3], int(sys.argv[3]))", raw, copies, str(total)), copies
        )

    def made(run: Run, copies: Path) -> Run:
        count = len(list(visible_files(copies)))
        return run._replace(count=count, work=count)

    mine, others = bench.alternate({"ours": ours, "sample": theirs}).values()
    yield Line("augment", per_second(mine), f"Augmentor's sample: {per_second(others)}", f"{ratio(mine, others):.2f}")


_IMPORT = "import tensorflow"
# Averaging is told of it when the first steps have come back; the code is one that nothing else ends with.
_FIRST_STEPS = """
import os, sys, trainer, config
def leave(*_, **__):
    sys.stdout.flush()
    os._exit(77)
trainer.Averaging.on_train_batch_end = leave
config.run(trainer.main, config.TrainConfig, None)
"""


def beside_import(bench: Bench, row: str, *, module: str, whole: Callable[[], Run]) -> Line:
    """A process beside importing TensorFlow; the remark says what the stages on its way take."""
    stages = {"nothing": "", "import tensorflow": "import tensorflow", f"import {module}": f"import {module}"}
    runs = bench.alternate({"all": whole, **{name: partial(code, text) for name, text in stages.items()}})
    ours, base = runs["all"], runs["import tensorflow"]
    beyond = median([run.seconds - other.seconds for run, other in zip(ours, base, strict=True)])
    limit = f"importing TensorFlow: {in_seconds(base)}"
    remark = "Python and " + ", ".join(f"{name}: {in_seconds(own)}" for name, own in runs.items())
    return Line(row, f"{in_seconds(ours)}, {beyond:.2f} s beyond", "-", "-", limit, f"{ratio(ours, base):.0%}", remark)


def start(bench: Bench) -> Iterator[Line]:
    def first_steps(arguments: list[str]) -> Run:
        saved = ["--model_save_name", bench.fresh()]
        run, text = run_process("-c", _FIRST_STEPS, *arguments, *saved, expected=77)
        found = re.search(r"training on (\d+) pictures, validating on (\d+)", text)
        require(bool(found) and sum(map(int, found.groups())) == count, text)
        return run

    count = bench.scaled(7620)
    ready = bench.pictures(count, 100, 100, ".png")
    arguments = ["--raw_data", f"{bench.fresh()}/none", "--data_path", ready]
    row = f"start, {count} pictures"
    yield beside_import(bench, f"{row} in a ready-made data/", module="trainer", whole=partial(first_steps, arguments))
    arguments = places(ready, bench.fresh())
    script("preprocessing.py", *arguments)
    yield beside_import(bench, f"{row}, preprocessed before", module="trainer", whole=partial(first_steps, arguments))


def predict_with(network: Path, *arguments: str | os.PathLike, answers: int) -> Run:
    run, text = run_process(TOP / "predict.py", *arguments, "--model_save_name", network)
    said = len(re.findall(rf"{CLASSES[0]} \d", text))
    require(said == answers, f"{said} answers to {answers} pictures:\n{text[-2000:]}")
    return run


def predict_cold(bench: Bench) -> Iterator[Line]:
    picture = next(visible_files(bench.pictures(2, *_SMALL)))
    whole = partial(predict_with, bench.network(), picture, answers=1)
    yield beside_import(bench, "predict-cold", module="predict", whole=whole)


def predict_folder(bench: Bench) -> Iterator[Line]:
    count, side = bench.scaled(5000), PictureConfig.height
    few, many = (bench.pictures(number, *_SMALL) for number in (bench.scaled(1000), count))
    single, network = next(visible_files(many)), bench.network()

    def beyond_one() -> Run:
        one = predict_with(network, single, answers=1)
        run = predict_with(network, many, answers=count)
        return Run(run.seconds - one.seconds, count - 1, count, run.peak)

    def limit() -> Run:
        return alone(peers.decode_alone, many, side, side)._replace(work=count)

    runs, limits = bench.alternate({"ours": beyond_one, "limit": limit}).values()
    fewer = predict_with(network, few, answers=bench.scaled(1000))
    remark = f"peak memory {megabytes(runs[0])} for {count} pictures, {megabytes(fewer)} for {bench.scaled(1000)}"
    share = f"{ratio(runs, limits):.0%}"
    yield Line(f"predict-folder, {count}", per_second(runs), "-", "-", per_second(limits), share, remark)


def growth(bench: Bench) -> Iterator[Line]:
    def scripts(count: int) -> dict[str, Run]:
        """Every script on so many pictures."""
        raw, work = bench.pictures(count, 32, 32), bench.fresh()
        smallest = [*places(raw, work), "--height", "16", "--width", "16"]
        network = work / "network"
        runs = {"preprocessing.py": script("preprocessing.py", *smallest)}
        training = ["--model_save_name", network, "--epochs", "1", "--batch_size", "256"]
        runs["trainer.py, one epoch"] = script("trainer.py", *smallest, *training)
        runs["predict.py"] = predict_with(network, raw, answers=count)
        print(f"  {count} pictures: {runs}", file=sys.stderr, flush=True)
        return runs

    counts = [_FEW, *(_FEW + bench.scaled(count) for count in (1000, 10_000, 100_000))]
    rounds = [[scripts(count) for count in counts] for _ in range(bench.rounds)]
    for name in rounds[0][0]:
        # For each count, the seconds that one picture takes, in each round.
        each = [
            [(runs[place][name].seconds - runs[0][name].seconds) / (count - _FEW) for runs in rounds]
            for place, count in enumerate(counts[1:], start=1)
        ]
        figures = [
            f"{1e6 * median(own):,.0f} µs a picture, {megabytes(rounds[0][place][name])}"
            for place, own in enumerate(each, start=1)
        ]
        for count, own, figure in zip(counts[1:], each, figures, strict=True):
            # Beside the middle count, since the time of the first is small beside the noise of that of starting.
            beside = median([middle / other for middle, other in zip(each[1], own, strict=True)])
            yield Line(f"growth, {count:,}: {name}", figure, f"{counts[2]:,}: {figures[1]}", f"{beside:.2f}")


def summaries_share(raw: Path, work: Path, epochs: int) -> Run:
    """Seconds that TensorBoard's callback takes, per second of training with everything around it."""
    spent = []

    def clocked(method: Callable) -> Callable:
        def call(*arguments, **named):
            began = time.perf_counter()
            method(*arguments, **named)
            spent.append(time.perf_counter() - began)

        return call

    for name in ("on_train_begin", "on_epoch_end", "close"):
        setattr(Summaries, name, clocked(getattr(Summaries, name)))
    with contextlib.redirect_stdout(io.StringIO()):
        run = peers.timed(lambda: trainer.main(settings_in(work, raw, epochs=epochs, patience=epochs)))
    require(len(spent) == epochs + 2, f"{len(spent)} calls in {epochs} epochs")
    return Run(sum(spent), 1, run.seconds)


def tensorboard(bench: Bench) -> Iterator[Line]:
    raw, epochs = bench.pictures(240, 100, 100), bench.scaled(30)
    runs = [alone(summaries_share, raw, bench.fresh(), epochs) for _ in range(bench.rounds)]
    share = median([run.seconds / run.work for run in runs])
    seconds = median([run.work for run in runs])
    remark = f"{in_seconds(runs)} of {seconds:.2f} s, {epochs} epochs of 192 pictures"
    yield Line("tensorboard", f"{share:.2%} of a run", remark=remark)


def has_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))


def gpu(bench: Bench) -> Iterator[Line]:
    if not alone(has_gpu):
        yield Line("gpu", "no GPU here")
        return
    count, epochs = 9526, bench.scaled(300)  # a fifth of them validate, which leaves 7,620
    data = bench.pictures(count, 100, 100, ".png")
    arguments = ["--raw_data", f"{bench.fresh()}/none", "--data_path", data, "--model_save_name", bench.fresh()]
    run, text = run_process(TOP / "trainer.py", *arguments, "--epochs", str(epochs), "--patience", str(epochs))
    require("training on 7620 pictures" in text, text)
    yield Line(f"gpu, {epochs} epochs", in_seconds([run]), remark="the original's author waited 8 hours on his machine")


ROWS: dict[str, Callable[[Bench], Iterator[Line]]] = {
    "training-10": partial(training, batch_size=10, step_count=240),
    "training-64": partial(training, batch_size=64, step_count=96),
    "preprocess-12mp": partial(preprocessing, row="preprocess-12mp", count=40, size=_LARGE),
    "preprocess-small": partial(preprocessing, row="preprocess-small", count=2000, size=_SMALL),
    "preprocess-again": preprocess_again,
    "augment": augmenting,
    "start": start,
    "predict-cold": predict_cold,
    "predict-folder": predict_folder,
    "growth": growth,
    "tensorboard": tensorboard,
    "gpu": gpu,
}


def main(config: BenchmarkConfig) -> int:
    if unknown := [name for name in config.rows if name not in ROWS]:
        raise UserError(f"--rows {' '.join(unknown)}: no such row; there are {' '.join(ROWS)}")
    remarks = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), raw_data=config.raw_data, size=config.size, rounds=config.rounds)
        print(f"{bench.machine}; size {config.size:g}, {config.rounds} rounds\n")
        print("| row | ours | peer | ratio | limit | share of the limit |\n|---|---|---|---|---|---|", flush=True)
        for name in config.rows or ROWS:
            for line in ROWS[name](bench):
                *cells, remark = line
                print(f"| {' | '.join(cells)} |", flush=True)
                remarks += [f"- {line.row}: {remark}"] if remark else []
    print("", *remarks, sep="\n")
    return settings.DONE


if __name__ == "__main__":
    settings.run(main, BenchmarkConfig, __doc__)
