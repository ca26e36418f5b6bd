"""Starts TensorBoard without TensorFlow: `python -m reports.board`, with the options of `tensorboard`.

TensorBoard needs TensorFlow only for logs on remote storage. If it is installed, `tensorboard` loads it nevertheless,
which takes two seconds and writes messages that no environment variable silences. A value of None in `sys.modules`
makes an import fail, so TensorBoard does what it does if TensorFlow is not installed.
"""

import sys

from tensorboard import program

from config import CheckpointConfig


def main() -> int:
    sys.modules["tensorflow"] = None  # type: ignore[assignment] - it is what Python itself uses
    board = program.TensorBoard()
    board.configure(["tensorboard", "--logdir", CheckpointConfig().model_save_name, *sys.argv[1:]])
    return board.main()


if __name__ == "__main__":
    sys.exit(main())
