"""What recording costs, as ratios to the plain training loop, beside other tools.

    python benchmarks/overhead.py                      # the full table
    python benchmarks/overhead.py --quick              # a narrow net and few pairs
    python benchmarks/overhead.py --only every1,wandb --threads 1
    python benchmarks/overhead.py --compile aot_eager  # under torch.compile, plain loop as well
    python benchmarks/overhead.py --write docs/benchmarks.md

A contender that needs a package which is not installed is named with its reason and left out.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import sys
from pathlib import Path

from pairs import ContenderError, Outcome, Setting, Spread, measure

HEAD = (
    "| | threads | CPU time: median (quartiles) | CPU time: all pairs "
    "| wall: median (quartiles) | written per step | peak memory |"
)
RULE = "| --- | --- | --- | --- | --- | --- | --- |"
PACKAGES = ("torch", "numba", "transformers", "wandb")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=15, help="pairs of blocks per contender")
    parser.add_argument("--threads", default="1,2", help="thread counts, separated by commas")
    parser.add_argument("--width", type=int, default=64, help="channels of the first stage")
    parser.add_argument("--batch", type=int, default=32, help="images per batch")
    parser.add_argument("--only", default="", help="contenders, separated by commas")
    parser.add_argument("--compile", default="", metavar="BACKEND", help="inductor, aot_eager")
    parser.add_argument("--quick", action="store_true", help="width 16, batch 16, 5 pairs")
    parser.add_argument("--write", type=Path, help="write the table to this Markdown file")
    options = parser.parse_args()
    if options.quick:
        options.width, options.batch, options.pairs = 16, 16, 5
    if options.pairs < 2:
        parser.error("--pairs: quartiles need at least 2 pairs")
    return options


def chosen(only: str, backend: str) -> list[str]:
    """Keys of the contenders to run; says which cannot run here, and why."""
    from contenders import COMPILED, CONTENDERS

    keys = only.split(",") if only else list(COMPILED if backend else CONTENDERS)
    if unknown := set(keys) - set(CONTENDERS):
        sys.exit(f"unknown: {', '.join(sorted(unknown))}. Known: {', '.join(CONTENDERS)}")
    ready: list[str] = []
    for key in keys:
        if reason := CONTENDERS[key].missing():
            print(f"left out: {CONTENDERS[key].label}: {reason}")
        else:
            ready.append(key)
    return ready


def ratio(spread: Spread) -> str:
    """Median and quartiles as one cell."""
    return f"{spread.median:.3f} ({spread.low:.3f} to {spread.high:.3f})"


def row(label: str, threads: int, outcome: Outcome) -> str:
    """One line of the table."""
    cells = (
        label,
        str(threads),
        ratio(outcome.cpu),
        f"{outcome.cpu.total:.3f}",
        ratio(outcome.wall),
        f"{outcome.written_per_step / 1e3:.0f} kB",
        f"{outcome.peak_bytes / 2**20:.0f} MiB",
    )
    return "| " + " | ".join(cells) + " |"


def provenance(options: argparse.Namespace) -> str:
    """What was trained, and with which versions."""
    versions: list[str] = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{package} not installed")
    compiled = f", compiled by {options.compile}" if options.compile else ""
    return (
        f"ResNet-18 layout, width {options.width}, 32x32 images, batch {options.batch}{compiled}, "
        f"SGD with momentum; {options.pairs} pairs; {os.cpu_count()} CPUs with a load of "
        f"{os.getloadavg()[1]:.1f} at the start; {', '.join(versions)}."
    )


def table(options: argparse.Namespace) -> list[str]:
    """Measure everything; prints each line as soon as it is known."""
    from contenders import CONTENDERS

    lines = [HEAD, RULE]
    print("\n".join([provenance(options), "", *lines]), flush=True)
    keys = chosen(options.only, options.compile)
    for threads in (int(text) for text in options.threads.split(",")):
        setting = Setting(threads, options.width, options.batch, options.compile)
        for key in keys:
            contender = CONTENDERS[key]
            try:
                outcome = measure(key, contender.block, setting, options.pairs)
            except ContenderError as error:
                print(f"left out: {contender.label}: {error}", flush=True)
                continue
            lines.append(row(contender.label, threads, outcome))
            print(lines[-1], flush=True)
    return lines


def document(options: argparse.Namespace, lines: list[str]) -> str:
    """The Markdown page of these measurements."""
    return "\n".join(
        [
            "# What recording costs",
            "",
            "Written by `python benchmarks/overhead.py --write docs/benchmarks.md`; do not edit.",
            "",
            "Ratios to the plain training loop: 1.0 is free. Each contender trains in a process of",
            "its own; blocks of steps run in turn with the plain loop, the order swapped from pair",
            "to pair. CPU time is that of the training process with all its threads (helper",
            "processes of a tool are not counted). The first line is the noise of the machine.",
            "",
            provenance(options),
            "",
            *lines,
            "",
        ]
    )


def main() -> None:
    """Measure, print, and write when asked."""
    options = arguments()
    lines = table(options)
    if options.write:
        options.write.write_text(document(options, lines), encoding="utf-8")
        print(f"written: {options.write}")


if __name__ == "__main__":
    main()
