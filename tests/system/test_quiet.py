"""What libraries write to stderr is hidden if all goes well, and shown if they fail."""

import os
import signal
import subprocess
import sys
import time

import pytest

from system.quiet import quiet_stderr
from tests.helpers.pictures import ROOT

posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")


def run(code: str, **options) -> subprocess.CompletedProcess:
    """Runs Python code in a new process, after the import of `quiet_stderr`, os and signal."""
    code = f"import os, signal, sys\nfrom system.quiet import quiet_stderr\n{code}"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True, timeout=60, **options
    )


def test_quiet_stderr_hides_what_is_written_to_stderr_only(capfd):
    os.write(2, b"before,")
    with quiet_stderr("last words"):
        os.write(2, b"written from C++,")
        os.write(1, b"output")
    os.write(2, b"after")
    assert capfd.readouterr() == ("output", "before,after")


@pytest.mark.parametrize("error", [ImportError("no such library"), SystemExit(1)])
def test_quiet_stderr_shows_everything_after_an_error(capfd, error):
    with pytest.raises(type(error)), quiet_stderr("last words"):
        os.write(2, b"first,")
        os.write(2, b"second,")
        raise error
    os.write(2, b"after")
    assert capfd.readouterr().err == "first,second,after"


def test_quiet_stderr_shows_nothing_after_ctrl_c(capfd):
    with pytest.raises(KeyboardInterrupt), quiet_stderr("last words"):
        os.write(2, b"noise")
        raise KeyboardInterrupt
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("os.abort()", -signal.SIGABRT),
        ("os._exit(3)", 3),  # as exit() of C does
        pytest.param("os.kill(os.getpid(), signal.SIGILL)", -signal.SIGILL, marks=posix_only),
        pytest.param("os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV, marks=posix_only),
    ],
)
def test_quiet_stderr_shows_everything_if_the_process_dies(end, code):
    text = "x" * 200_000  # more than a pipe holds
    died = run(f"with quiet_stderr('last words'):\n    os.write(2, b'x' * 200_000 + b'\\n')\n    {end}")
    assert died.stderr == f"{text}\nlast words\n"
    assert os.name == "nt" or died.returncode == code


def test_quiet_stderr_says_only_the_last_words_if_there_is_no_text():
    assert run("with quiet_stderr('last words'):\n    os.abort()").stderr == "last words\n"


@posix_only
def test_quiet_stderr_shows_the_text_though_a_child_keeps_stderr(tmp_path):
    code = "import subprocess\nwith quiet_stderr('last words'):\n    os.write(2, b'text\\n')\n"
    code += "    subprocess.Popen(['sleep', '5'])\n    os.kill(os.getpid(), signal.SIGKILL)"
    assert run(code).stderr == "text\nlast words\n"


@posix_only
def test_quiet_stderr_leaves_no_process_behind():
    code = "with quiet_stderr('last words'):\n    pass\n"
    code += "try:\n    os.waitpid(-1, os.WNOHANG)\nexcept ChildProcessError:\n    print('no child')"
    assert run(code, stdout=subprocess.PIPE).stdout == "no child\n"


@posix_only
def test_quiet_stderr_survives_ctrl_c_on_the_terminal_of_both_processes():
    code = "import time\nwith quiet_stderr('last words'):\n    os.write(2, b'noise')\n"
    code += "    os.killpg(0, signal.SIGINT)\n    time.sleep(60)"
    ended = run(code, start_new_session=True)
    assert "KeyboardInterrupt" in ended.stderr
    assert "noise" not in ended.stderr
    assert "last words" not in ended.stderr


@posix_only
def test_quiet_stderr_shows_nothing_if_a_handler_ends_the_process():
    code = "signal.signal(signal.SIGTERM, lambda *_: os._exit(143))\nwith quiet_stderr('last words'):\n"
    ended = run(f"{code}    os.write(2, b'noise')\n    os.kill(os.getpid(), signal.SIGTERM)\n    signal.pause()")
    assert (ended.returncode, ended.stderr) == (143, "")


@pytest.mark.parametrize("broken", ["sys.executable = ''", "import tempfile; tempfile.tempdir = '/missing/folder'"])
def test_quiet_stderr_hides_nothing_where_it_cannot(broken):
    done = run(f"{broken}\nwith quiet_stderr('last words'):\n    os.write(2, b'shown,')\nos.write(2, b'after')")
    assert (done.returncode, done.stderr) == (0, "shown,after")


@posix_only
def test_quiet_stderr_works_without_stderr():
    done = run("os.close(2)\nwith quiet_stderr('last words'):\n    pass\nprint('done')", stdout=subprocess.PIPE)
    assert done.stdout == "done\n"


def test_quiet_stderr_takes_little_time():
    start = time.perf_counter()
    for _ in range(5):
        with quiet_stderr("last words"):
            pass
    assert time.perf_counter() - start < 5  # 20 ms each on a quiet machine
