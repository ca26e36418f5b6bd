"""A program: trainer.py, which also logs when steps are done, when saving one begins, and when it is saved.

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

DONE, SAVING, SAVED = "done", "saving", "saved"  # the events in the log

_log = -1  # a file descriptor


def _append(event: str, step: int) -> None:
    """Appends a line to the log: event, step, seconds of the monotonic clock."""
    os.write(_log, f"{event} {step} {time.monotonic()}\n".encode())


class _LoggedSaveCheckpoints(SaveCheckpoints):
    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 < self.params["steps"]:
            _append(DONE, self._checkpoints.step)
        super().on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        _append(DONE, self._checkpoints.step)
        super().on_epoch_end(epoch, logs)


class _LoggedCheckpointManager(CheckpointManager):
    def restore(self, checkpoint):
        super().restore(checkpoint)
        _append(SAVING, self.step)
        _append(SAVED, self.step)

    def _write(self, step, tensors, best):
        _append(SAVING, step)
        super()._write(step, tensors, best)
        _append(SAVED, step)


if __name__ == "__main__":
    _log = os.open(sys.argv.pop(1), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    trainer.SaveCheckpoints, trainer.CheckpointManager = _LoggedSaveCheckpoints, _LoggedCheckpointManager
    run_script(trainer.main, TrainConfig, __doc__)
