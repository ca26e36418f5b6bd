"""How a script ends: exit codes, one line for each problem, signals, and output that cannot be written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from config import PictureConfig, PredictConfig, TrainConfig
from system.errors import UserError
from system.script import describe_memory_error, run_script
from tests.helpers.pictures import ROOT
from tests.helpers.screens import rendered, show_terminal
from tests.helpers.signals import START, finish, interrupt, start

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="has /proc and /dev/full")


# ---- exit codes ----


def run(main, monkeypatch, *arguments, description="A tool.\n\nWith a story.") -> int:
    """Runs a script and returns its exit code."""
    monkeypatch.setattr(sys, "argv", ["some/folder/tool.py", *arguments])
    with pytest.raises(SystemExit) as stop:
        run_script(main, PictureConfig, description)
    return stop.value.code


def raising(error):
    def main(config):
        raise error

    return main


@pytest.mark.parametrize("code", [0, 1])
def test_run_script_ends_with_the_code_that_main_returns(code, monkeypatch):
    heights = []
    assert run(lambda config: heights.append(config.height) or code, monkeypatch, "--height", "32") == code
    assert heights == [32]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (UserError("here: fix it like this"), "tool.py: here: fix it like this\n"),
        (FileNotFoundError(2, "No such file", "a.jpg"), "tool.py: 'a.jpg': No such file\n"),
        (
            OSError(28, "No space left on device", "a\nb"),
            "tool.py: 'a\\nb': No space left on device; free some space on that disk and run the same command again\n",
        ),
        (
            ModuleNotFoundError("No module named 'watchfiles'", name="watchfiles"),
            "tool.py: No module named 'watchfiles'; activate the environment, or run pip install -r requirements.txt\n",
        ),
        (
            MemoryError("Unable to allocate 5.00 TiB"),
            "tool.py: the memory is not enough; use a smaller --height or --width, or end other programs and run the "
            "same command again\n",
        ),
    ],
)
def test_run_script_ends_in_one_line_and_code_2_if_a_user_can_fix_it(error, line, monkeypatch, capsys):
    assert run(raising(error), monkeypatch) == 2
    assert capsys.readouterr() == ("", line)


def test_run_script_breaks_the_line_of_an_error_between_words(monkeypatch):
    screen = show_terminal(monkeypatch, "stderr", columns=30)
    assert run(raising(UserError("here: this is wrong, fix it like this")), monkeypatch) == 2
    assert screen.getvalue() == "tool.py: here: this is wrong,\nfix it like this\n"


def test_describe_memory_error_names_the_settings_of_the_script():
    assert describe_memory_error(TrainConfig) == (
        "the memory is not enough; use a smaller --height or --width or --batch_size or --memory_gib, or end other "
        "programs and run the same command again"
    )
    assert describe_memory_error(PredictConfig) == (
        "the memory is not enough; end other programs and run the same command again"
    )


def test_run_script_refuses_a_wrong_command_line_before_any_work(monkeypatch, capsys):
    assert run(raising(AssertionError("it started")), monkeypatch, "--height", "0") == 2
    assert capsys.readouterr().err == "tool.py: --height 0: must be from 16 to 4096\n"


def test_run_script_ends_with_code_130_when_interrupted(monkeypatch, capsys):
    assert run(raising(KeyboardInterrupt()), monkeypatch) == 130
    assert capsys.readouterr() == ("", "tool.py: interrupted\n")


@pytest.mark.parametrize(("term", "lines"), [("xterm", ["a line", "tool.py: interrupted"]), ("dumb", None)])
def test_run_script_erases_what_stands_before_the_line_of_a_signal(term, lines, monkeypatch):
    screen = show_terminal(monkeypatch, "stdout", "stderr")
    monkeypatch.setenv("TERM", term)

    def main(config):
        print("a line\nwaiting ...", end="\r^C")
        raise KeyboardInterrupt

    assert run(main, monkeypatch) == 130
    if os.name == "nt" or not lines:  # where nothing can be erased
        lines = ["a line", "^Citing ...", "tool.py: interrupted"]
    assert rendered(screen.getvalue()) == lines


@pytest.mark.parametrize("error", [ValueError("not for users"), ZeroDivisionError(), KeyError("x")])
def test_run_script_keeps_the_traceback_of_a_bug(error, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tool.py"])
    with pytest.raises(type(error)):
        run_script(raising(error), PictureConfig, "A tool.")


def test_run_script_shows_the_first_line_of_the_description_only(monkeypatch, capsys):
    assert run(raising(AssertionError("it started")), monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    assert "A tool." in text and "With a story." not in text


def test_run_script_works_without_a_docstring(monkeypatch):
    # `python -OO` removes docstrings, so a script's __doc__ is None there.
    assert run(lambda config: 0, monkeypatch, description=None) == 0


# ---- signals ----

BEGIN = """
from pathlib import Path
from config import PictureConfig
from system.errors import UserError
from system.files import reserved, write_atomically
from system.script import run_script
"""
END = "\nrun_script(main, PictureConfig, None)\n"


def write_tool(folder: Path, text: str) -> Path:
    tool = folder / "tool.py"
    tool.write_text(START + BEGIN + text + END, encoding="utf-8")
    return tool


def run_tool(folder: Path, text: str, **options) -> tuple[int, str, str]:
    return finish(start(write_tool(folder, text), cwd=folder, **options))


WORKING = """
def main(config):
    try:
        with reserved(Path("results")):
            print("working")
            input()
    finally:
        print("cleaned up")
"""
LINES = {"SIGINT": (130, "interrupted"), "SIGTERM": (143, "ended by SIGTERM"), "SIGHUP": (129, "ended by SIGHUP")}


@not_on_windows
@pytest.mark.parametrize("name", LINES)
def test_run_script_cleans_up_after_a_signal(name, tmp_path):
    process = start(write_tool(tmp_path, WORKING), cwd=tmp_path)
    assert process.stdout.readline() == "working\n"
    assert (tmp_path / "results").exists()
    code, line = LINES[name]
    assert interrupt(process, getattr(signal, name)) == (code, "cleaned up\n", f"tool.py: {line}\n")
    assert not (tmp_path / "results").exists()


CLEANING = """
def main(config):
    with reserved(Path("results")):
        try:
            print("working")
            input()
        finally:
            print("cleaning up")
            input()
"""


@not_on_windows
def test_run_script_ends_at_once_at_a_second_signal(tmp_path):
    process = start(write_tool(tmp_path, CLEANING), cwd=tmp_path)
    assert process.stdout.readline() == "working\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "cleaning up\n"
    assert interrupt(process, signal.SIGTERM) == (130, "", "tool.py: interrupted\n")
    assert not (tmp_path / "results").exists()


LOST = """
import signal

class Deleted:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)  # Python cannot raise an exception here

def main(config):
    with reserved(Path("results")):
        Deleted()
        print("went on")
"""
REPLACED = """
import signal

def main(config):
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        raise {error} from None  # as libraries do that are interrupted while they load
"""
SIGNAL_WHILE_AN_ERROR_IS_REPORTED = """
import signal
from system import script
script.describe_os_error = lambda error: signal.raise_signal(signal.SIGINT)

def main(config):
    raise OSError("full")
"""
WITH_BUSY_THREAD = """
import signal, threading, time

def main(config):
    threading.Thread(target=time.sleep, args=(3600,)).start()  # Python would wait for it
    signal.raise_signal(signal.SIGINT)
"""


@not_on_windows
@pytest.mark.parametrize(
    "text",
    [
        LOST,
        REPLACED.format(error="SystemError('initialization failed')"),
        REPLACED.format(error="ImportError('no module')"),
        REPLACED.format(error="OSError('no file')"),
        REPLACED.format(error="UserError('fix it')"),
        SIGNAL_WHILE_AN_ERROR_IS_REPORTED,
        WITH_BUSY_THREAD,
    ],
    ids=["in __del__", "SystemError", "ImportError", "OSError", "UserError", "while reporting", "thread"],
)
def test_run_script_ends_with_one_line_wherever_a_signal_comes(text, tmp_path):
    assert run_tool(tmp_path, text) == (130, "", "tool.py: interrupted\n")
    assert not (tmp_path / "results").exists()


TEMPORARY = """
import signal, tempfile
from system.files import use_own_temporary_folder

def main(config):
    use_own_temporary_folder()
    print(tempfile.mkdtemp())
    {}
"""


@pytest.mark.parametrize(("end", "code"), [("return 0", 0), ("signal.raise_signal(signal.SIGINT)", 130)])
def test_run_script_removes_the_temporary_files_of_libraries(end, code, tmp_path):
    ended, out, _ = run_tool(tmp_path, TEMPORARY.format(end))
    assert ended == code
    path = Path(out.rstrip())
    assert path.parent.name.startswith("classifier-") and not path.parent.exists()


LATE = """
import atexit, signal

@atexit.register
def shut_down():
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.raise_signal(number)
    print("shut down")

def main(config):
    return 0
"""


@not_on_windows
def test_run_script_ignores_signals_once_it_has_ended(tmp_path):
    assert run_tool(tmp_path, LATE) == (0, "shut down\n", "")


POOL = """
import signal
from functools import partial
from tests.helpers import jobs
from system.pool import imap

results = None

def main(config):
    global results  # so that the end of main does not close it
    Path("touched").mkdir()
    touch = partial(jobs.touch, below=Path("touched").absolute(), slow=3)
    results = imap(touch, range(40), on_failure=jobs.failed, description="working", chunksize=1)
    while not Path("touched/3").exists():
        next(results)
    signal.raise_signal(signal.SIGINT)
"""


@only_linux
def test_run_script_ends_the_work_of_a_pool_whose_results_are_still_open(tmp_path):
    assert run_tool(tmp_path, POOL) == (130, "", "tool.py: interrupted\n")
    worker = Path("/proc", (tmp_path / "touched" / "3").read_text())  # it would have worked on for a minute
    end = time.monotonic() + 30
    while worker.exists():
        assert time.monotonic() < end
        time.sleep(0.02)


# ---- output ----

PRINTING = """
import sys

def main(config):
    for _ in range(20_000):
        print("a line")
    print("{last}", file=sys.stderr)
    Path("done").touch()
    return {code}
"""


def run_with_closed_output(folder: Path, text: str, *, stream: str = "stdout", buffered: bool) -> tuple[int, str]:
    """Runs a tool whose output nobody reads. Returns its exit code, and what it wrote to the other stream."""
    tool = write_tool(folder, text)
    process = start(tool, cwd=folder, env={"PYTHONUNBUFFERED": "" if buffered else "1"})
    with process:
        getattr(process, stream).close()
        other = (process.stderr if stream == "stdout" else process.stdout).read()
    return process.returncode, other


@not_on_windows
@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("code", [0, 1])
def test_run_script_works_on_though_nobody_reads_its_output(code, buffered, tmp_path):
    text = PRINTING.format(last="warning", code=code)
    line = "tool.py: the output was closed before its end\n"
    assert run_with_closed_output(tmp_path, text, buffered=buffered) == (141, f"warning\n{line}")
    assert (tmp_path / "done").exists()


@not_on_windows
def test_run_script_works_on_though_nobody_reads_its_messages(tmp_path):
    text = PRINTING.format(last="warning", code=1)
    assert run_with_closed_output(tmp_path, text, stream="stderr", buffered=True) == (1, "a line\n" * 20_000)


@not_on_windows
def test_run_script_notices_lost_output_that_was_still_buffered(tmp_path):
    text = "def main(config):\n    print('a line')\n    return 0\n"
    line = "tool.py: the output was closed before its end\n"
    assert run_with_closed_output(tmp_path, text, buffered=True) == (141, line)


@only_linux
def test_run_script_works_on_though_the_disk_of_its_log_is_full(tmp_path):
    with Path("/dev/full").open("w") as full:
        code, _, err = run_tool(tmp_path, PRINTING.format(last="warning", code=0), stdout=full)
    assert (code, (tmp_path / "done").exists()) == (2, True)
    assert err == "warning\ntool.py: the output is incomplete: No space left on device\n"


@not_on_windows
@pytest.mark.parametrize("code", [2, 143])
def test_run_script_keeps_an_exit_code_that_says_more_than_lost_output(code, tmp_path):
    text = PRINTING.format(last="warning", code=code)
    assert run_with_closed_output(tmp_path, text, buffered=True) == (code, "warning\n")


@only_linux
def test_run_script_works_on_though_its_terminal_is_gone(tmp_path):
    controller, terminal = os.openpty()
    process = start(write_tool(tmp_path, PRINTING.format(last="warning", code=0)), cwd=tmp_path, stdout=terminal)
    os.close(terminal)
    os.close(controller)
    code, _, err = finish(process)
    assert (code, (tmp_path / "done").exists()) == (2, True)
    assert err == "warning\ntool.py: the output is incomplete: Input/output error\n"


TOOL = """
from config import PictureConfig
from system.script import run_script

run_script(lambda config: print("caf\u00e9") or 0, PictureConfig, None)
"""


def test_run_script_escapes_letters_that_the_terminal_lacks(tmp_path):
    tool = tmp_path / "tool.py"
    tool.write_text(TOOL, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, tool], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "caf\\xe9\n", "")


NOTEBOOK = """
import runpy, sys

class Cell:
    text = ""
    def write(self, text):
        Cell.text += text
    def flush(self):
        pass

sys.stdout, usual = {stream}, sys.stdout
del sys.argv[0]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as end:
    print(end.code, Cell.text, end="", file=usual)
"""


@pytest.mark.parametrize(("stream", "shown"), [("Cell()", "1 a line\n"), ("None", "1 ")], ids=["notebook", "no stream"])
def test_run_script_works_in_other_programs_and_without_a_stream(stream, shown, tmp_path):
    notebook = tmp_path / "notebook.py"
    notebook.write_text(NOTEBOOK.format(stream=stream))
    tool = write_tool(
        tmp_path,
        "from system.progress import progress\n"
        "def main(config):\n"
        "    with progress(1, 'working') as advance:\n"
        "        advance(1)\n"
        "    print('a line')\n"
        "    return 1\n",
    )
    assert finish(start(notebook, tool, cwd=tmp_path)) == (0, shown, "")
