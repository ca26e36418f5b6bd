"""What is written when all pictures are answered: the report of an evaluation, and the files."""

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from answers.arguments import files_to_write
from answers.engine import Engine
from answers.output import STDOUT, to_row, write_csv, write_json
from answers.sources import Question
from answers.summary import Record
from config import PredictConfig
from system.errors import describe_os_error


def write_results(record: Record, question: Question, engine: Engine, config: PredictConfig) -> list[str]:
    """Prints the report of --evaluate and writes the output files. Returns a line about each that it could not write.

    The report is printed on stderr if the answers are on standard output, which is then for another program.
    """
    class_names = engine.model_config.class_names
    report, writers = None, {}
    if config.evaluate:
        from answers.evaluation import evaluate  # here, because loading these takes 0.1 s
        from reports.folder import evaluation_of, write_page
        from reports.text import format_report

        if evaluation := evaluation_of(record.answers, question.true_classes, class_names):
            report = evaluate(evaluation)
            print(format_report(report), file=sys.stderr if STDOUT in (config.json, config.csv) else sys.stdout)
            writers["html"] = partial(
                write_page, evaluation=evaluation, engine=engine, found=question.paths, record=record, config=config
            )

    def rows() -> Iterator[dict]:
        return (to_row(answer, class_names, question.true_classes.get(Path(answer.path))) for answer in record.answers)

    writers["json"] = lambda path: write_json(path, rows(), report)
    writers["csv"] = lambda path: write_csv(path, rows(), class_names)
    return write_files({path: writers[name] for name, path in files_to_write(config).items() if name in writers})


def write_files(writers: Mapping[Path, Callable[[Path], None]]) -> list[str]:
    """Calls each function with its file. Returns a line about each file that could not be written."""
    problems = []
    for path, write in writers.items():
        try:
            write(path)
        except OSError as error:
            problems.append(describe_os_error(error))
    return problems
