"""Errors that a user can fix, and the exit codes of all scripts."""

import errno

EXIT_SUCCESS = 0
EXIT_PARTIAL_FAILURE = 1  # some pictures could not be read
EXIT_USER_ERROR = 2  # a setting, a file or a folder has to be fixed first
EXIT_WORKER_LOST = 3  # another worker of the same training has ended, or cannot be reached any more
# A signal: 128 + its number, as in shells; so 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP.
EXIT_OUTPUT_CLOSED = 141  # nobody reads the output any more, as after `| head`; 13 is SIGPIPE, which Windows lacks

_REMEDIES = {
    errno.ENOSPC: "free some space on that disk",
    errno.EDQUOT: "free some space on that disk",
    errno.EFBIG: "use a disk that supports files of this size",
    errno.EIO: "check that disk",
    errno.EROFS: "make that disk writable",
    errno.EACCES: "change its permissions",
    errno.EPERM: "change its permissions",
    errno.EEXIST: "move it away or choose another folder",
    errno.ENOTDIR: "move the file away that is in its place",
    errno.EISDIR: "move the folder away that is in its place",
    errno.ENOMEM: "free some memory",
}


class UserError(Exception):
    """A problem that the user can fix. Its message is one line: what, where, how to fix it. Shown without traceback."""

    exit_code = EXIT_USER_ERROR


def describe_os_error(error: OSError) -> str:
    """Returns one line about an error of the operating system: what, where and, if known, how to fix it."""
    if not error.strerror:
        return str(error)
    where = f"{error.filename!r}: " if error.filename else ""  # repr keeps any file name on one line
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{where}{error.strerror}" + (f"; {remedy} and run the same command again" if remedy else "")
