"""A training run that is interrupted and resumed, and what must be true of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from benchmarks.faults import logged_trainer
from benchmarks.faults.campaign import Failure, expect
from benchmarks.faults.folders import RAW_DATA, expect_no_partial_files, expect_same_files
from benchmarks.faults.logged_trainer import DONE, SAVED, SAVING
from benchmarks.faults.processes import ScriptProcess
from benchmarks.harness.processes import folder_arguments
from network.checkpoint_file import BEST, checkpoint_paths, read_checkpoint
from network.model_config import MODEL_CONFIG
from pictures.manifest import TRAIN, VALIDATION
from reports.report_files import TEXT_REPORT
from reports.summaries import CURVES
from system.errors import UserError
from training.checkpoints import latest_checkpoint

DEFAULT_SIZE = ("--epochs", "4", "--save_seconds", "0.5", "--patience", "100")  # a checkpoint has 178 MB
_SLACK = 0.3  # seconds that a busy machine may take between looking at the clock and logging the time


class LogEntry(NamedTuple):
    """One line of the log of logged_trainer.py."""

    event: str
    step: int
    time: float  # seconds of the monotonic clock, which all processes share


@dataclass
class TrainingRun:
    """One run of the trainer in a folder of its own, started as often as necessary."""

    folder: Path
    raw: Path = RAW_DATA
    arguments: Sequence[str] = DEFAULT_SIZE
    step: int | None = None  # of the newest checkpoint, at the last check
    max_lost: float = 0.0  # seconds of training that a kill has cost
    _log: Path | None = None  # of the latest process
    _intact: dict[Path, tuple[int, int]] = field(default_factory=dict)  # checkpoints that were found to be intact

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def save_seconds(self) -> float:
        return float(self.arguments[self.arguments.index("--save_seconds") + 1])

    def start(self) -> ScriptProcess:
        self._log = self.folder / f"{len(list(self.folder.glob('*.log')))}.log"
        folders = [*folder_arguments(self.raw, self.folder), "--model_save_name", self.checkpoints]
        return ScriptProcess(self.folder, "-m", logged_trainer.__name__, self._log, *folders, *self.arguments)

    def reaches(self, process: ScriptProcess, step: int) -> bool:
        """Waits, and returns whether a step was done before the process ended."""
        return process.runs_until(lambda: any(done >= step for done in self.done_steps))

    @property
    def done_steps(self) -> list[int]:
        """The steps after which the latest process has returned to Python."""
        return [entry.step for entry in self.log() if entry.event == DONE]

    def log(self) -> list[LogEntry]:
        """Returns what the latest process has logged."""
        lines = self._log.read_text().splitlines() if self._log and self._log.exists() else []
        return [LogEntry(event, int(step), float(time)) for event, step, time in map(str.split, lines)]

    def check(self, process: ScriptProcess) -> None:
        """Checks everything that must be true after the latest process has ended in any way."""
        self._check_start(process)
        for path in [*checkpoint_paths(self.checkpoints), *checkpoint_paths(self.checkpoints / BEST)]:
            status = path.stat()
            if self._intact.get(path) != (status.st_ino, status.st_mtime_ns):
                try:
                    read_checkpoint(path)
                except ValueError as error:
                    raise Failure(f"{path.name} is damaged: {error}") from None
                self._intact[path] = status.st_ino, status.st_mtime_ns
        try:
            latest = latest_checkpoint(self.checkpoints)
        except UserError as error:
            raise Failure(str(error)) from None
        step = latest.step if latest else None
        if self.step is not None:
            expect(step is not None, f"the checkpoint of step {self.step} is gone")
            expect(step >= self.step, f"the newest checkpoint was of step {self.step} and is of step {step}")
        self.step = step
        self._check_lost_time()

    def _check_start(self, process: ScriptProcess) -> None:
        """It must have continued from the newest checkpoint."""
        if self.step is not None:
            found = re.search(r"continuing after epoch \d+, step (\d+)", process.stdout)
            expect(found or " epoch " not in process.stdout, f"started anew, though step {self.step} was saved")
            expect(not found or int(found[1]) == self.step, f"{found and found[0]}, not step {self.step}")

    def _check_lost_time(self) -> None:
        """What was trained after the last save must have taken at most --save_seconds and one return to Python.

        If the next save had begun, its time comes in addition.
        """
        log = self.log()
        done, saving, saved = ([entry for entry in log if entry.event == event] for event in (DONE, SAVING, SAVED))
        if not saved:
            return
        newest = saved[-1].step
        expect(self.step >= newest, f"step {newest} was saved, but step {self.step} is the newest")
        if done and done[-1].step > self.step:
            end, before = done[-1].time, done[-2].time if len(done) > 1 else log[0].time
            start = next(entry.time for entry in saving if entry.step == newest)
            lost, unfinished = end - start, max(0.0, end - saving[-1].time) if saving[-1].step > newest else 0.0
            self.max_lost = max(self.max_lost, lost)
            allowed = self.save_seconds + unfinished + (end - before) + _SLACK
            expect(lost <= allowed, f"lost {lost:.2f} s of training, more than {allowed:.2f} s")

    def finish(self) -> ScriptProcess:
        process = self.start()
        process.expect_success()
        self.check(process)
        return process

    def expect_same(self, other: "TrainingRun", *, curves: bool = True) -> None:
        """Its results must equal those of another run to the bit; `curves` says whether TensorBoard's must too."""
        for part in ("", BEST):
            own_path, other_path = (newest_checkpoint(run.checkpoints / part) for run in (self, other))
            expect(own_path.name == other_path.name, f"{part}/{own_path.name} is the newest, not {other_path.name}")
            expect(own_path.read_bytes() == other_path.read_bytes(), f"{part}/{own_path.name} differs")
        for name in (TEXT_REPORT, MODEL_CONFIG):
            own, others = ((run.checkpoints / name).read_bytes() for run in (self, other))
            expect(own == others, f"{name} differs")
        if curves:
            own_curves, other_curves = self.curves, other.curves
            wrong = [
                f"{name} is {own_curves.get(name)}, not {points}"
                for name, points in other_curves.items()
                if own_curves.get(name) != points
            ]
            expect(own_curves == other_curves, f"TensorBoard's curves differ, for example {wrong[:1]}")
        expect_no_partial_files(self.folder)
        expect_same_files(self.folder / "data", other.folder / "data")

    @property
    def curves(self) -> dict[str, list[tuple[int, float]]]:
        """The epochs and values of each curve of TensorBoard that follows from the history, as they were written."""
        curves = {}
        for name in (TRAIN, VALIDATION):
            events = EventAccumulator(
                str(self.checkpoints / name), size_guidance={"tensors": 0}, purge_orphaned_data=False
            ).Reload()
            for tag in CURVES & set(events.Tags()["tensors"]):
                points = [(event.step, float(make_ndarray(event.tensor_proto))) for event in events.Tensors(tag)]
                curves[f"{name}/{tag}"] = points
        return curves


def newest_checkpoint(folder: Path) -> Path:
    paths = checkpoint_paths(folder)
    expect(paths, f"no checkpoint in {folder.name}/")
    return paths[0]


@dataclass
class ReferenceRun(TrainingRun):
    """An uninterrupted run to compare others with."""

    seconds: float = 0.0  # that it took

    def finished(self) -> "ReferenceRun":
        """Returns itself, once it is finished; it is run when it is first needed."""
        if self.folder.exists():
            expect(self.step, "the reference run failed")
            return self
        self.folder.mkdir()
        process = self.finish()
        self.seconds = process.seconds
        expect(self.step, "the reference run saved nothing")
        epochs = int(self.arguments[self.arguments.index("--epochs") + 1])
        for name, points in self.curves.items():
            steps = [step for step, _ in points]
            expect(steps == list(range(1, epochs + 1)), f"{name} shows the epochs {steps}")
        return self
