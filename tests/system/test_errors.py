"""Errors of the operating system on one line."""

import errno

import pytest

from system.errors import UserError, describe_os_error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file", "a.jpg"), "'a.jpg': No such file"),
        (
            PermissionError(errno.EACCES, "Permission denied", "x"),
            "'x': Permission denied; change its permissions and run the same command again",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "a\nb"),
            "'a\\nb': No space left on device; free some space on that disk and run the same command again",
        ),
        (
            OSError(errno.ENOMEM, "Cannot allocate memory"),
            "Cannot allocate memory; free some memory and run the same command again",
        ),
        (OSError("no number"), "no number"),
    ],
)
def test_describe_os_error_says_what_where_and_how_to_fix_it(error, line):
    assert describe_os_error(error) == line


def test_user_error_is_not_a_value_error():
    assert not issubclass(UserError, ValueError)  # so that no handler of bad values hides one
