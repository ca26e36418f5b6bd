"""`python -m reports.board` is TensorBoard, but quiet."""

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest

from tests.helpers.processes import with_modules
from tests.helpers.tensorboard import TENSORBOARD, serving

BOARD = (sys.executable, "-m", "reports.board")
NOTE = r"\s*NOTE: Using .*?\s+https://\S+\s+"  # where there is the fast loader


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_board_writes_its_address_and_ends_at_ctrl_c(trained, tmp_path):
    log = tmp_path / "log"
    with serving(trained, log=log, command=BOARD) as served:
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait() == 0
    output = re.sub(NOTE, "", log.read_text(), flags=re.DOTALL)
    assert re.fullmatch(rf"TensorBoard [\d.]+ at {served.url}/ \(Press CTRL\+C to quit\)\s+", output)


def test_board_has_the_tabs_of_tensorboard(trained, tmp_path):
    with serving(trained, log=tmp_path / "log", command=BOARD) as board:
        tabs = board.json("/data/plugins_listing")
    with serving(trained, log=tmp_path / "log", command=TENSORBOARD) as tensorboard:
        assert tensorboard.json("/data/plugins_listing") == tabs
    assert {"timeseries", "images", "graphs", "hparams", "projector"} <= set(tabs)


def test_board_shows_the_default_folder(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "checkpoints")
    command = [*BOARD, "--inspect"]
    done = subprocess.run(command, cwd=tmp_path, env=with_modules(), capture_output=True, text=True, check=True)
    assert "checkpoints/train" in done.stdout.replace(os.sep, "/")
