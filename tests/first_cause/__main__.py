"""Put many faults into many models, one at a time, and see whether the verdict names the layer.

From the root of the repository:

    python -m tests.first_cause                    # 1,000 faults and 300 sound executions
    python -m tests.first_cause --faults 60 --controls 24

The last lines say how many layers were named rightly, how many sound executions raised an alarm,
and how many model runs a verdict took at most.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from tests.first_cause.trial import Tally, run_trials


def main() -> int:
    """Try, and say what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=1000)
    parser.add_argument("--controls", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args()
    tally = run_trials(options.faults, options.controls, options.seed, talk=not options.quiet)
    _print(tally)
    return 0 if tally.is_good else 1


def _print(tally: Tally) -> None:
    for name, kinds in (("fault", tally.by_fault), ("architecture", tally.by_model)):
        rights, totals = kinds
        for kind in sorted(totals):
            print(f"{name:13s} {kind:18s} {rights[kind]:5d} of {totals[kind]:5d}")
    print("mechanisms named:", dict(Counter(tally.mechanisms)))
    print(f"right layer: {tally.right} of {tally.n_faults}")
    print(f"false alarms: {tally.alarms} of {tally.n_controls}")
    print(f"model runs a verdict, at most: {tally.most_runs}")


if __name__ == "__main__":
    sys.exit(main())
