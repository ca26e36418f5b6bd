"""A program: trainer.py, which also logs when steps are done and when they are saved.

`python -m benchmarks.faults.logged_trainer LOG [--setting value ...]`
"""

import os
import sys
import time

import trainer
from config import TrainConfig
from system.script import run_script
from training.callbacks import SaveCheckpoints
from training.checkpoints import CheckpointManager

DONE, SAVED = "done", "saved"  # the events in the log


class _LoggedSaveCheckpoints(SaveCheckpoints):
    """Appends lines to the log: event, step, seconds of the monotonic clock."""

    log = -1  # a file descriptor

    def __init__(self, checkpoints: CheckpointManager, **options) -> None:
        super().__init__(checkpoints, **options)
        self._write(SAVED)

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 < self.params["steps"]:
            self._write(DONE)
        super().on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self._write(DONE)
        super().on_epoch_end(epoch, logs)

    def _save(self) -> None:
        super()._save()
        self._write(SAVED)

    def _write(self, event: str) -> None:
        os.write(self.log, f"{event} {self._checkpoints.step} {time.monotonic()}\n".encode())


if __name__ == "__main__":
    _LoggedSaveCheckpoints.log = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    trainer.SaveCheckpoints = _LoggedSaveCheckpoints
    run_script(trainer.main, TrainConfig, __doc__)
