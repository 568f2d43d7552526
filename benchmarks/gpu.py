"""What counting, recording and rounding cost on a GPU.

    python benchmarks/gpu.py                       # everything but torch.compile
    python benchmarks/gpu.py --only kernel,steps   # some parts
    python benchmarks/gpu.py --compile             # torch.compile alone
    python benchmarks/gpu.py --device cpu --quick  # a dry run: tiny sizes, numbers mean nothing
    python benchmarks/gpu.py --write docs/benchmarks-gpu.md --json gpu.json

Parts: kernel (bandwidth of counting), steps (ResNet-50 and GPT-2 in BF16, recorded and plain in
turn), syncs (calls that wait for the device), profile (where the time goes), rounding, compile. A
part that fails prints its traceback, and the next one runs.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from gpu_kernels import kernel_part, rounding_part
from gpu_training import compiled_part, profile_part, steps_part, syncs_part
from gpu_work import Budget, Table

Part = Callable[[torch.device, bool, Budget], Iterator[Table]]
PARTS: dict[str, tuple[Part, float]] = {
    "kernel": (kernel_part, 45.0),
    "steps": (steps_part, 45.0),
    "syncs": (syncs_part, 10.0),
    "profile": (profile_part, 20.0),
    "rounding": (rounding_part, 15.0),
}
"""What runs by default, and the seconds after which a part begins nothing new."""
COMPILE_SECONDS = 180.0
PACKAGES = ("torch", "triton", "transformers", "numpy")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="parts, separated by commas")
    parser.add_argument("--compile", action="store_true", help="the part compile alone")
    parser.add_argument("--backend", default="inductor", help="of torch.compile")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, cpu")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see whether it runs")
    parser.add_argument("--write", type=Path, help="write the tables to this Markdown file")
    parser.add_argument("--json", type=Path, help="write the tables to this JSON file")
    options = parser.parse_args()
    options.parts = options.only.split(",") if options.only else list(PARTS)
    if options.compile and not options.only:
        options.parts = ["compile"]
    if unknown := set(options.parts) - {*PARTS, "compile"}:
        parser.error(f"--only: unknown {', '.join(sorted(unknown))}; known: {', '.join(PARTS)}")
    return options


def provenance(device: torch.device, quick: bool) -> str:
    """The device, and the versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    versions = [f"Python {platform.python_version()}"]
    for package in PACKAGES:
        try:
            versions.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{package} not installed")
    return f"{name}; {', '.join(versions)}{'; tiny sizes: a dry run' if quick else ''}."


def run(options: argparse.Namespace, device: torch.device) -> tuple[list[Table], list[str]]:
    """Run the parts; what they measured, and the names of those that failed."""
    tables: list[Table] = []
    failed: list[str] = []
    parts = PARTS | {"compile": (partial(compiled_part, backend=options.backend), COMPILE_SECONDS)}
    for name in options.parts:
        part, seconds = parts[name]
        print(f"\n## {name}", flush=True)
        start = time.monotonic()
        try:
            for table in part(device, options.quick, Budget(seconds)):
                tables.append(table)  # noqa: PERF402 - what came before a failure is kept
        except Exception:
            failed.append(name)
            traceback.print_exc(file=sys.stdout)
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
        print(f"\n{name}: {time.monotonic() - start:.1f} s", flush=True)
    return tables, failed


def document(tables: list[Table], source: str) -> str:
    """The Markdown page of these measurements."""
    head = [
        "# What it costs on a GPU",
        "",
        "Written by `python benchmarks/gpu.py --write docs/benchmarks-gpu.md`; do not edit.",
        "",
        "ResNet-50 (256 images of 224 x 224, channels last, SGD with momentum) and GPT-2 (124M;",
        "8 x 1,024 tokens, fused AdamW), random data, BF16 autocast. Blocks of steps run in turn",
        "with the plain loop; 1.0 is free. Kernel times are medians between events of the device.",
        "",
        source,
    ]
    body = [line for table in tables for line in ("", *table.lines())]
    return "\n".join([*head, *(line.replace("### ", "## ") for line in body), ""])


def main() -> None:
    """Measure, print, and write when asked."""
    options = arguments()
    device = torch.device(options.device)
    source = provenance(device, options.quick)
    print(source, flush=True)
    tables, failed = run(options, device)
    if options.write:
        options.write.write_text(document(tables, source), encoding="utf-8")
    if options.json:
        found = {"source": source, "failed": failed, "tables": [vars(table) for table in tables]}
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
