"""What predict.py writes when all pictures are predicted: the report of an evaluation, and the output files."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from answers.arguments import files_to_write
from answers.engine import Engine
from answers.messages import Message
from answers.output import STDOUT, Answer, Output, to_row, write_csv, write_json
from answers.sources import Source
from config import PredictConfig
from system.errors import EXIT_USER_ERROR, describe_os_error


class Results(Output):
    """Keeps the answers, from which it makes the report and the files at the end."""

    def __init__(self, source: Source, engine: Engine, config: PredictConfig) -> None:
        self._source, self._engine, self._config = source, engine, config
        self._answers: list[Answer] = []

    def add(self, answers: Sequence[Answer]) -> None:
        self._answers += [replace(answer, image=None) for answer in answers]

    def finish(self) -> list[Message]:
        """Prints the report of --evaluate and writes the files. Returns a message for each that it could not write.

        The report is printed on stderr if the answers are on standard output, which is then for another program.
        """
        class_names = self._engine.model_config.class_names
        report, writers = self._evaluate() if self._config.evaluate else (None, {})
        writers["json"] = lambda path: write_json(path, self._rows(), report)
        writers["csv"] = lambda path: write_csv(path, self._rows(), class_names)
        files = files_to_write(self._config)
        return write_files({path: writers[name] for name, path in files.items() if name in writers})

    def _evaluate(self) -> tuple[dict | None, dict[str, Callable[[Path], None]]]:
        """Prints the report. Returns it, and what writes the page; nothing if no picture could be read."""
        from answers.evaluation import evaluate, evaluation_of  # here, because only --evaluate needs them
        from reports.text import format_report

        evaluation = evaluation_of(self._answers, self._source.true_classes, self._engine.model_config.class_names)
        if not evaluation:
            return None, {}
        report = evaluate(evaluation)
        is_stdout_taken = STDOUT in (self._config.json, self._config.csv)
        print(format_report(report), file=sys.stderr if is_stdout_taken else sys.stdout)

        def write_html(path: Path) -> None:
            from reports.folder import write_page  # here, because loading Jinja2 and SciPy takes 0.3 s

            write_page(
                path,
                answers=self._answers,
                evaluation=evaluation,
                engine=self._engine,
                found=self._source.paths,
                config=self._config,
            )

        return report, {"html": write_html}

    def _rows(self) -> Iterator[dict]:
        class_names, true_classes = self._engine.model_config.class_names, self._source.true_classes
        return (to_row(answer, class_names, true_classes.get(Path(answer.path))) for answer in self._answers)


def write_files(writers: Mapping[Path, Callable[[Path], None]]) -> list[Message]:
    """Calls each function with its file. Returns a message for each file that could not be written."""
    messages = []
    for path, write in writers.items():
        try:
            write(path)
        except OSError as error:
            messages.append(Message(describe_os_error(error), EXIT_USER_ERROR))
    return messages
