"""``deephochuli study``: the founding claims, measured again, with verdicts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from deephochuli.cli._study_cost import duration, in_words, print_estimate
from deephochuli.cli._terminal import console, print_json, shown
from deephochuli.errors import StudyError

if TYPE_CHECKING:
    from rich.console import Console

    from deephochuli.report import Answer
    from deephochuli.studies import Engine, Estimate, Outcome, Progress, Study

EngineName = Literal["local", "ray"]
ALL: Final = "all"
FAILED: Final = 3
PROGRAM: Final = "deephochuli study"
STYLES: Final = {"confirmed": "green", "refined": "cyan", "refuted": "red", "open": "yellow"}

Workers = Annotated[
    int | None,
    typer.Option("--workers", "--jobs", "-j", min=1, help="Workers; one a core if not given."),
]
EngineOption = Annotated[
    EngineName, typer.Option(help="What measures: processes of this machine, or Ray.")
]
Address = Annotated[
    str | None, typer.Option(help="Of a Ray cluster: auto, HOST:PORT, ray://HOST:PORT.")
]
Price = Annotated[
    bool, typer.Option("--estimate", help="Tell what is left to measure and its cost; stop.")
]


def study(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME...|all",
            help="Which studies; --list shows them. MODULE:STUDY names one of your own.",
        ),
    ] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List the studies.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="A short plan: all studies in three minutes.")
    ] = False,
    to: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where results are kept, and found again.")
    ] = Path("runs/studies"),
    workers: Workers = None,
    engine: EngineOption = "local",
    address: Address = None,
    price: Price = False,
    html: Annotated[
        Path | None, typer.Option(help="Where to write the page; in FOLDER when not given.")
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Also write the answers into their places in a document."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Measure the founding documents' claims again: claim, source, measured, verdict.

    What was measured before is not measured again, so an interrupted study goes on where it was.
    """
    if list_them:
        _print_list(console())
        return
    chosen = _chosen(names or [])
    measuring = _engine(engine, workers, address)
    left = _estimate(chosen, to, quick=quick)
    if price:
        print_estimate(left, measuring.n_workers, as_json=as_json)
        return
    if left.n_left and not as_json:
        typer.echo(in_words(left, measuring.n_workers), err=True)
    outcomes = _run(chosen, to, measuring, quick=quick, quiet=as_json)
    answers = _answers(outcomes)
    page = _write(answers, html or to / f"{_word(names or [], chosen)}.html", quick=quick)
    if markdown is not None:
        _write_markdown(answers, markdown, names or [], quick=quick)
    if as_json:
        from deephochuli.report import sheets_to_json

        print_json(sheets_to_json(answers))
        return
    out = console()
    for answer in answers:
        _print_answer(answer, out)
    typer.echo(page)


def _chosen(names: list[str]) -> list[Study]:
    from deephochuli.studies import get_study, list_studies

    if not names:
        raise StudyError(f"Name a study, or {ALL!r}. There are: {', '.join(list_studies())}.")
    if ALL in names:
        names = [*list_studies(), *(name for name in names if name != ALL)]
    if any(":" in name for name in names) and "" not in sys.path:
        # As `python -m` does; a console script looks only where packages are installed.
        sys.path.insert(0, str(Path.cwd()))
    studies = [get_study(name) for name in dict.fromkeys(names)]
    if len({study.name for study in studies}) < len(studies):
        raise StudyError(f"Two of the studies {', '.join(names)} have the same name.")
    return studies


def _word(names: list[str], chosen: list[Study]) -> str:
    """Name of the page."""
    return ALL if ALL in names else "-".join(study.name for study in chosen)


def _engine(name: EngineName, workers: int | None, address: str | None) -> Engine:
    from deephochuli.studies import Local, Ray

    if name == "ray":
        return Ray(workers, address)
    if address is not None:
        raise StudyError(f"--address {address} is that of a Ray cluster; add --engine ray.")
    return Local(workers)


def _ledger(to: Path) -> Path:
    return to / "seconds.jsonl"


def _estimate(chosen: list[Study], to: Path, *, quick: bool) -> Estimate:
    from deephochuli.studies import Ledger, PointCache, estimate

    return estimate(chosen, PointCache(to / "points"), Ledger(_ledger(to)), quick=quick)


def _run(
    chosen: list[Study], to: Path, engine: Engine, *, quick: bool, quiet: bool
) -> list[Outcome]:
    """Run the studies; where points fail, say which, and end with an exit code of its own."""
    from deephochuli.studies import Ledger, PointCache, run_studies

    cache, ledger = PointCache(to / "points"), Ledger(_ledger(to))
    with _progress(quiet=quiet) as tell:
        try:
            return run_studies(chosen, cache, quick=quick, engine=engine, ledger=ledger, tell=tell)
        except StudyError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(FAILED) from error


@contextmanager
def _progress(*, quiet: bool) -> Generator[Callable[[Progress], None]]:
    """A bar on standard error, with the time left; nothing where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bar

    out = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    bar = Bar(*columns, TextColumn("{task.fields[left]}"), console=out, transient=True)
    bar.disable = quiet or not out.is_terminal
    task = bar.add_task("studies", total=None, left="")

    def tell(now: Progress) -> None:
        done = now.n_known + now.n_measured + now.n_failed
        left = "" if now.seconds_left is None else f"{duration(now.seconds_left)} left"
        bar.update(task, total=now.n_points, completed=done, left=left, description=now.last)

    with bar:
        yield tell


def _answers(outcomes: list[Outcome]) -> list[Answer]:
    from deephochuli.report import answer_of

    return [answer_of(outcome.study, outcome.conclusion) for outcome in outcomes]


def _write(answers: list[Answer], page: Path, *, quick: bool) -> Path:
    from deephochuli.report import build_sheets_report

    plan = "the quick plan, whose intervals are wide" if quick else "the whole plan"
    n_claims = sum(len(answer.claims) for answer in answers)
    lede = f"{n_claims} claims of founding documents, formulas and literature, measured by {plan}."
    return build_sheets_report(answers, page, title="Studies", lede=lede)


def _write_markdown(
    answers: list[Answer], document: Path, names: list[str], *, quick: bool
) -> None:
    from deephochuli.report import write_markdown

    command = " ".join([PROGRAM, *names, *(["--quick"] if quick else [])])
    write_markdown(answers, document, command)


def _print_list(out: Console) -> None:
    from rich import box
    from rich.table import Table

    from deephochuli.studies import get_study, list_studies

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("study", "question", "points", "quick"):
        table.add_column(heading)
    for name in list_studies():
        one = get_study(name)
        counts = (str(len(one.points(quick))) for quick in (False, True))
        table.add_row(name, one.question, *counts)
    out.print(table)


def _print_answer(answer: Answer, out: Console) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    out.print(shown(answer.sheet.title), style="bold")
    out.print(shown(answer.sheet.answer))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("claim", "expected", "measured", "verdict"):
        table.add_column(heading, ratio=1 if heading != "verdict" else None)
    for claim in answer.claims:
        verdict = Text(claim.verdict, style=STYLES[claim.verdict])
        table.add_row(shown(claim.text), shown(claim.expected), shown(claim.measured), verdict)
    if answer.claims:
        out.print(table)
