"""TensorFlow loads without the messages of its libraries."""

import os

import pytest

from network.backend import quiet_stderr


def test_quiet_stderr_discards_what_is_written_to_stderr_only(capfd, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")  # so that the variable is restored after the test
    os.write(2, b"before,")
    with quiet_stderr():
        os.write(2, b"written from C++,")
        os.write(1, b"output")
    os.write(2, b"after")
    assert capfd.readouterr() == ("output", "before,after")
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"  # a level that the user has set is kept


def test_quiet_stderr_restores_stderr_after_an_error(capfd, monkeypatch):
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    with pytest.raises(ImportError), quiet_stderr():
        raise ImportError("no such library")
    os.write(2, b"shown")
    assert capfd.readouterr().err == "shown"
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"  # only fatal messages, unless the user wants more
