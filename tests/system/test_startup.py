"""The first moments of a script: signals, closed streams, names in any locale."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from system import startup
from tests.helpers.pictures import ROOT
from tests.helpers.processes import wait_until
from tests.helpers.signals import START, finish, handles, interrupt, start

not_on_windows = pytest.mark.skipif(os.name == "nt", reason="signals and locales of POSIX")
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
LATIN = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}  # a locale that knows ASCII only
LINES = {signal.SIGINT: "interrupted", signal.SIGTERM: "ended by SIGTERM"}
if os.name != "nt":
    LINES[signal.SIGHUP] = "ended by SIGHUP"


def write_tool(folder: Path, text: str) -> Path:
    tool = folder / "tool.py"
    tool.write_text(START + text, encoding="utf-8")
    return tool


# ---- signals ----


@not_on_windows
@pytest.mark.parametrize("number", LINES)
def test_start_script_lets_a_signal_end_imports_with_one_line(number, tmp_path):
    (tmp_path / "slow_library.py").write_text("print('importing'); input()")
    process = start(
        write_tool(tmp_path, "try:\n    import slow_library\nexcept BaseException:\n    pass"), cwd=tmp_path
    )
    assert process.stdout.readline() == "importing\n"
    assert interrupt(process, number) == (128 + number, "", f"tool.py: {LINES[number]}\n")


REDIRECTED = """
import os
os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # as while TensorFlow is imported
print("redirected")
input()
"""


@not_on_windows
def test_interruption_is_shown_while_stderr_is_redirected(tmp_path):
    process = start(write_tool(tmp_path, REDIRECTED), cwd=tmp_path)
    assert process.stdout.readline() == "redirected\n"
    assert interrupt(process) == (130, "", "tool.py: interrupted\n")


def test_handle_signal_leaves_an_ignored_signal_ignored():
    usual = signal.getsignal(signal.SIGTERM)
    try:
        for before, after in ((signal.SIG_IGN, signal.SIG_IGN), (signal.SIG_DFL, print)):
            signal.signal(signal.SIGTERM, before)
            startup.handle_signal(signal.SIGTERM, print)
            assert signal.getsignal(signal.SIGTERM) is after
    finally:
        signal.signal(signal.SIGTERM, usual)


def ignore_interrupt():
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@not_on_windows
def test_start_script_respects_signals_that_are_ignored(tmp_path):
    tool = write_tool(tmp_path, "print('started'); print(input())")
    process = start(tool, cwd=tmp_path, preexec_fn=ignore_interrupt)
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGINT)
    process.stdin.write("still there\n")
    process.stdin.flush()
    assert finish(process) == (0, "still there\n", "")


@only_linux
@pytest.mark.parametrize("how", ["by its path", "as a module"])
def test_start_script_handles_signals_of_a_main_program(how, tmp_path):
    write_tool(tmp_path, "input()")
    arguments = ("tool.py",) if how == "by its path" else ("-m", "tool")
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=tmp_path, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: handles(process, signal.SIGHUP), process)  # the last one that is set
    process.send_signal(signal.SIGINT)
    assert process.communicate() == (None, "tool.py: interrupted\n")
    assert process.returncode == 130


NOTEBOOK = """
import runpy, signal, sys
runpy.run_path(sys.argv[1], run_name="__main__")
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, sys.flags.utf8_mode)
"""


@not_on_windows
def test_start_script_changes_nothing_in_the_process_of_another_program(tmp_path):
    notebook = tmp_path / "notebook.py"
    notebook.write_text(NOTEBOOK)
    process = start(notebook, write_tool(tmp_path, "print(sys.stdout is sys.__stdout__)"), cwd=tmp_path, env=LATIN)
    assert finish(process) == (0, "True\nTrue 0\n", "")


@pytest.mark.parametrize(
    ("code", "line"),
    [
        (
            "import no_such_library",
            "No module named 'no_such_library'; activate the environment, or run pip install -r",
        ),
        (
            "raise ImportError('x.so: failed to map\\n segment')",
            "x.so: failed to map segment; check `ulimit -v`, or ins",
        ),
        ("raise MemoryError", "MemoryError; check `ulimit -v`, or install the requirements again"),
    ],
)
def test_library_that_cannot_be_imported_is_one_line(code, line, tmp_path):
    code, output, errors = finish(start(write_tool(tmp_path, code), cwd=tmp_path))
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert errors.startswith(f"tool.py: {line}")


# ---- streams ----


@not_on_windows
@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1, 2]])
def test_start_script_keeps_files_off_closed_streams(closed, tmp_path):
    tool = write_tool(
        tmp_path,
        "file = open('file', 'w')\n"
        "print('out'); print('err', file=sys.stderr); first = sys.stdin.read()\n"
        "file.write(f'{file.fileno() > 2} {first!r}')\n",
    )

    def close():
        for descriptor in closed:
            os.close(descriptor)

    process = start(tool, cwd=tmp_path, preexec_fn=close, stdin=subprocess.DEVNULL)
    assert finish(process) == (0, "" if 1 in closed else "out\n", "" if 2 in closed else "err\n")
    assert (tmp_path / "file").read_text() == "True ''"


# ---- names ----

SHOW = """
import json, os
print(json.dumps([sys.flags.utf8_mode, sys.argv[1:], os.listdir(), sys.getfilesystemencoding()]))
print("caf\\u00e9")
"""


@not_on_windows
@pytest.mark.parametrize("options", [[], ["-B", "-X", "faulthandler"], ["-X", "utf8"]])
def test_start_script_sees_the_same_names_in_every_locale(options, tmp_path):
    tool = write_tool(tmp_path, SHOW)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "猫").touch()
    done = subprocess.run(
        [sys.executable, *options, tool, "猫".encode(), b"latin\xe9", "--name=a b"],
        cwd=tmp_path / "folder",
        env={**os.environ, **LATIN},
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    first, second = done.stdout.splitlines()
    assert json.loads(first) == [1, ["猫", "latin\udce9", "--name=a b"], ["猫"], "utf-8"]
    if "utf8" not in options:
        assert second == b"caf\\xe9"  # as the terminal can show it


@not_on_windows
def test_start_script_starts_a_second_time_at_most(tmp_path):
    tool = write_tool(tmp_path, "print(sys.getfilesystemencoding())")
    tool.write_text("import sys\nsys.getfilesystemencoding = lambda: 'latin-1'\n" + tool.read_text(encoding="utf-8"))
    done = subprocess.run([sys.executable, tool], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "latin-1\n", "")


@pytest.mark.parametrize("how", ["-P", "PYTHONSAFEPATH"])
@pytest.mark.parametrize("name", ["preprocessing.py", "augment.py"])
def test_scripts_find_their_modules_with_a_safe_path(how, name, tmp_path):
    options, environment = (["-P"], {}) if how == "-P" else ([], {"PYTHONSAFEPATH": "1"})
    done = subprocess.run(
        [sys.executable, *options, ROOT / name, "--heigth", "5"],
        cwd=tmp_path,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (2, f"{name}: --heigth 5: no such setting; did you mean --height?\n")


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["--help"], 0, "  --color_channels 1|3  3 for color (RGB), 1 for gray. (default 3)"),
        (["--epcohs", "3"], 2, "trainer.py: --epcohs 3: no such setting; did you mean --epochs?"),
        (["--batch_size", "0"], 2, "trainer.py: --batch_size 0: must be from 1 to 65536"),
        ([], 3, "TensorFlow is loaded"),
    ],
)
def test_trainer_reads_its_command_line_before_it_loads_tensorflow(arguments, code, line, tmp_path):
    slow = "import os; print('TensorFlow is loaded', flush=True); os._exit(3)"
    (tmp_path / "tensorflow.py").write_text(slow, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, ROOT / "trainer.py", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "COLUMNS": "120"},
        capture_output=True,
        text=True,
    )
    lines = (done.stdout + done.stderr).splitlines()
    assert (done.returncode, line in lines, "TensorFlow is loaded" in lines) == (code, True, not arguments)


def test_scripts_begin_in_the_same_way():
    names = ("preprocessing.py", "augment.py", "trainer.py", "predict.py")
    texts = [(ROOT / name).read_text(encoding="utf-8").split('"""\n\n', 1)[1] for name in names]
    (first,) = {text[: text.index("start_script()")] for text in texts}
    assert first.startswith('if __name__ == "__main__":')
