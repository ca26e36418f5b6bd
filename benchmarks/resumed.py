"""A training run that is begun, cut off and begun again, and what has to hold of it, for reliability.py."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from campaign import TOP, Running, Wrong, expect, expect_same_files, leftovers, places

# isort: split

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from checkpoint import BEST, newest_run, read_tensors
from config import UserError
from description import DESCRIPTION
from summaries import CURVES
from trainer import REPORT

LARGE = ("--epochs", "4", "--save_seconds", "0.5", "--patience", "100")  # a checkpoint has 178 MB
_SLACK = 0.3  # seconds that a loaded machine may take between looking at the clock and noting it

# The trainer, which also notes in a file when it is done with some steps and when it has saved them.
_NOTING = """
import os, sys, time
import trainer, config
sys.argv[0] = "trainer.py"
notes = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
class Noting(trainer.Keeper):
    def __init__(self, checkpoints, **options):
        super().__init__(checkpoints, **options)
        self.note("saved")
    def note(self, what):
        os.write(notes, f"{what} {self._checkpoints.step} {time.monotonic()}\\n".encode())
    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 < self.params["steps"]:
            self.note("done")
        super().on_train_batch_end(batch, logs)
    def on_epoch_end(self, epoch, logs=None):
        self.note("done")
        super().on_epoch_end(epoch, logs)
    def _save(self):
        super()._save()
        self.note("saved")
trainer.Keeper = Noting
config.run(trainer.main, config.TrainConfig, None)
"""


# ---- a training run, begun and cut off and begun again ----


class Note(NamedTuple):
    """The trainer was done with steps, or had saved them."""

    what: str
    step: int
    at: float  # seconds of the monotonic clock, which all processes share


@dataclass
class Training:
    """One run of the trainer in a folder of its own, however often it is begun."""

    folder: Path
    raw: Path = TOP / "rawdata"
    arguments: Sequence[str] = LARGE
    step: int | None = None  # of the newest whole checkpoint when it was last looked at
    most_lost: float = 0.0  # seconds of training that a kill has cost
    _notes: Path | None = None
    _known: dict[Path, tuple[int, int]] = field(default_factory=dict)  # checkpoints that have been found whole

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def start(self) -> Running:
        self._notes = self.folder / f"{len(list(self.folder.glob('*.notes')))}.notes"
        saved = ["--model_save_name", self.checkpoints]
        return Running(self.folder, "-c", _NOTING, self._notes, *places(self.folder, self.raw), *saved, *self.arguments)

    def reaches(self, run: Running, step: int) -> bool:
        """Waits until a step is done; False if the process ends before."""
        return run.lasts_until(lambda: any(note.what == "done" and note.step >= step for note in self.notes()))

    @property
    def returns(self) -> list[int]:
        """The steps after which the process begun last came back to Python."""
        return [note.step for note in self.notes() if note.what == "done"]

    def notes(self) -> list[Note]:
        """What the process begun last has noted."""
        lines = self._notes.read_text().splitlines() if self._notes.exists() else []
        return [Note(what, int(step), float(at)) for what, step, at in map(str.split, lines)]

    def check(self, run: Running) -> None:
        """What has to hold after the process begun last has ended, whichever way."""
        self._check_beginning(run)
        for path in [*self.checkpoints.glob("ckpt-*"), *(self.checkpoints / BEST).glob("ckpt-*")]:
            status = path.stat()
            if self._known.get(path) != (status.st_ino, status.st_mtime_ns):
                try:
                    read_tensors(path)
                except ValueError as error:
                    raise Wrong(f"{path.name} is damaged: {error}") from None
                self._known[path] = status.st_ino, status.st_mtime_ns
        try:
            newest = newest_run(self.checkpoints)
        except UserError as error:
            raise Wrong(str(error)) from None
        step = newest and newest.step
        expect(step is not None or self.step is None, f"the checkpoint of step {self.step} is gone")
        expect(self.step is None or step >= self.step, f"the newest checkpoint went from step {self.step} to {step}")
        self.step = step
        self._check_loss()

    def _check_beginning(self, run: Running) -> None:
        """It went on from the newest whole checkpoint."""
        if self.step is not None:
            found = re.search(r"going on after epoch \d+, step (\d+)", run.out)
            expect(found or "Epoch " not in run.out, f"began afresh, though step {self.step} was saved")
            expect(not found or int(found[1]) == self.step, f"went on from {found and found[0]}, not step {self.step}")

    def _check_loss(self) -> None:
        """What was trained since the last save took no longer than --save_seconds and one return to Python."""
        notes = self.notes()
        saved = [note for note in notes if note.what == "saved"]
        if not saved:
            return
        expect(self.step >= saved[-1].step, f"step {saved[-1].step} was saved, but step {self.step} is the newest")
        if notes[-1].what == "done" and notes[-1].step > self.step:
            lost, last = notes[-1].at - saved[-1].at, notes[-1].at - notes[-2].at
            self.most_lost = max(self.most_lost, lost)
            most = float(self.arguments[self.arguments.index("--save_seconds") + 1]) + last + _SLACK
            expect(lost <= most, f"lost {lost:.2f} s of training, more than {most:.2f} s")

    def finish(self) -> Running:
        run = self.start()
        run.expect_done()
        self.check(run)
        return run

    def expect_same(self, other: "Training", *, curves: bool = True) -> None:
        """It has come to the very end that another run came to; its curves, too, if they were asked for."""
        for part in ("", BEST):
            mine, others = (newest_file(training.checkpoints / part) for training in (self, other))
            expect(mine.name == others.name, f"{part}/{mine.name} is the newest, not {others.name}")
            expect(mine.read_bytes() == others.read_bytes(), f"{part}/{mine.name} differs")
        for name in (REPORT, DESCRIPTION):
            mine, others = ((training.checkpoints / name).read_bytes() for training in (self, other))
            expect(mine == others, f"{name} differs")
        if curves:
            mine, others = self.curves, other.curves
            wrong = [
                f"{name} is {mine.get(name)}, not {points}"
                for name, points in others.items()
                if mine.get(name) != points
            ]
            expect(mine == others, f"TensorBoard's curves differ, of which {wrong[:1]}")
        expect(not leftovers(self.folder), f"left over: {leftovers(self.folder)}")
        expect_same_files(self.folder / "data", other.folder / "data")

    @property
    def curves(self) -> dict[str, list[tuple[int, float]]]:
        """What TensorBoard shows: of every curve its epochs and values, in the order in which they were written."""
        result = {}
        for name in CURVES:
            events = EventAccumulator(
                str(self.checkpoints / name), size_guidance={"tensors": 0}, purge_orphaned_data=False
            ).Reload()
            for tag in events.Tags()["tensors"]:
                points = [(event.step, float(make_ndarray(event.tensor_proto))) for event in events.Tensors(tag)]
                result[f"{name}/{tag}"] = points
        return result


def newest_file(folder: Path) -> Path:
    files = list(folder.glob("ckpt-*.safetensors"))
    expect(files, f"no checkpoint in {folder.name}/")
    return max(files, key=lambda path: int(re.sub(r"\D", "", path.name)))


@dataclass
class Undisturbed(Training):
    """A run to compare others with."""

    seconds: float = 0.0  # that it took

    def made(self) -> "Undisturbed":
        """The same, once it has come to its end; it is run when it is first asked for."""
        if self.folder.exists():
            return self
        self.folder.mkdir()
        run = self.finish()
        self.seconds = run.seconds
        expect(self.step, "the run that nobody disturbed saved nothing")
        epochs = int(self.arguments[self.arguments.index("--epochs") + 1])
        for name, points in self.curves.items():
            steps = [step for step, _ in points]
            expect(steps == list(range(1, epochs + 1)), f"{name} shows the epochs {steps}")
        return self
