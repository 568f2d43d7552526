"""The answer about the kink for a terminal."""

from __future__ import annotations

from deephochuli.analysis._finding import percent
from deephochuli.analysis.kink._result import Kink, KinkRun


def text_of(kink: Kink) -> str:
    """A line for each execution, one for each layer with zeros, and the findings."""
    lines = [f"ReLU'(0) in {kink.model}: alpha = {', '.join(map(str, kink.alphas))} against 0"]
    for run in kink.runs:
        lines.append(f"  {answer_of(run, kink.alphas)}")
        lines += [
            f"    {row.layer or '(model)'}: {row.n_zero} of {row.n} at the kink, "
            f"{row.n_numerical} of them not by structure"
            for row in kink.zeros
            if row.execution == run.execution and row.n_zero
        ]
    lines += [f"{finding.level}: {finding.title}" for finding in kink.findings]
    return "\n".join(lines)


def answer_of(run: KinkRun, alphas: tuple[float, ...]) -> str:
    """What became of one execution, in one sentence."""
    changed = run.changed
    sizes = ", ".join(f"r({alpha:g}) = {run.size(alpha):.2g}" for alpha in alphas)
    return (
        f"{run.execution}: {percent(changed.value)} "
        f"[{percent(changed.low)}, {percent(changed.high)}] of {run.n_batches} batches change, "
        f"{sizes} in the median"
    )
