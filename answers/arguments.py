"""Which settings of predict.py make no sense together, and which files it is to write."""

import itertools
import os
from pathlib import Path

from answers.output import STDOUT
from config import PredictConfig
from pictures.folders import check_output_folder
from system.errors import UserError
from system.terminal import printable

_TASKS = ("evaluate", "watch", "export")
_FILES = ("json", "csv", "html")
_FOLDERS = ("explain", "sort")


def check_arguments(config: PredictConfig) -> None:
    """Raises UserError for settings that contradict each other, and for output files that exist."""
    if problem := _contradiction(config):
        raise UserError(problem)
    files = files_to_write(config)
    folders = {name: Path(path) for name in _FOLDERS if (path := getattr(config, name))}
    for (name, path), (other, other_path) in itertools.combinations({**files, **folders}.items(), 2):
        if path.resolve() == other_path.resolve():
            what = "folder" if name in folders else "file"
            raise UserError(f"--{name} {printable(path)} and --{other} are the same {what}; use two")
    for name, path in folders.items():
        sources = filter(os.path.exists, (*config.images, config.evaluate, config.watch))
        check_output_folder(name, path, map(Path, sources))
    for name, path in files.items():
        if path.parent == Path("/dev") or (path.exists() and not (path.is_file() or path.is_dir())):
            stdout = "" if name == "html" else f", or --{name} - for standard output"
            raise UserError(f"--{name} {printable(path)}: is not an ordinary file; use a new file{stdout}")
        if os.path.lexists(path):
            raise UserError(f"--{name} {printable(path)}: exists already and is not overwritten; use another file")


def _contradiction(config: PredictConfig) -> str:
    """Returns what is wrong with a combination of settings, and what to do; or ""."""
    tasks = [name for name in _TASKS if getattr(config, name)]
    if len(tasks) > 1:
        return f"--{tasks[0]} and --{tasks[1]} are two tasks: leave one out"
    if config.export:
        others = [name for name in ("top", "raw", *_FILES, *_FOLDERS) if is_changed(config, name)]
        refused = f"--export writes the network and predicts nothing: leave out --{' and --'.join(others)}"
        return refused if others else ""
    if bool(config.images) == bool(tasks):
        return (
            "name pictures, folders or patterns, or else --evaluate FOLDER, --watch FOLDER or --export FOLDER: "
            "python predict.py picture.jpg"
        )
    if config.raw and config.evaluate:
        return "--raw shows the magnitudes of each picture, --evaluate shows no single picture: leave one out"
    if is_changed(config, "top") and (config.evaluate or STDOUT in (config.json, config.csv)):
        other = "--evaluate" if config.evaluate else "--json -" if config.json == STDOUT else "--csv -"
        return f"--top is about the table of pictures, which {other} does not print: leave one out"
    if config.html and not config.evaluate:
        return "--html is a report on pictures whose class is known: add --evaluate FOLDER, or leave it out"
    if config.html == STDOUT:
        return "--html -: the page is written to a file; name one, such as --html report.html"
    if config.json == config.csv == STDOUT:
        return "--json - and --csv - write to the same place: use a file for one of them"
    if config.least_score and not config.sort:
        return "--least_score is a limit for --sort: add --sort FOLDER, or leave it out"
    return ""


def is_changed(config: PredictConfig, name: str) -> bool:
    """Returns whether a setting has another value than its default."""
    return getattr(config, name) != getattr(PredictConfig, name)


def files_to_write(config: PredictConfig) -> dict[str, Path]:
    """Returns the output files, by their setting."""
    names = {name: getattr(config, name) for name in _FILES}
    return {name: Path(path) for name, path in names.items() if path not in ("", STDOUT)}
