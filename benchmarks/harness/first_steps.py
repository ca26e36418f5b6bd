"""A program: trainer.py, which ends as soon as its first training steps have returned to Python.

`python -m benchmarks.harness.first_steps [--setting value ...]`
"""

import os
import sys

import trainer
from config import TrainConfig
from system.script import run_script
from training.callbacks import WeightAveraging

EXIT_CODE = 77  # that nothing else ends with


class _EndAfterFirstSteps(WeightAveraging):
    def on_train_batch_end(self, batch, logs=None):
        sys.stdout.flush()
        os._exit(EXIT_CODE)


if __name__ == "__main__":
    trainer.WeightAveraging = _EndAfterFirstSteps
    run_script(trainer.main, TrainConfig, __doc__)
