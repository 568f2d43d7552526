"""A study of which everything is known beforehand."""

import os
import signal
import time
from pathlib import Path

from deephochuli.analysis import Table
from deephochuli.studies import Claim, Conclusion, Study


def plan(quick):
    """Squares to form: few, or many."""
    return [{"n": n, "seed": 3} for n in range(3 if quick else 12)]


def measure(params):
    """A square, and which process formed it, in a place that tests read."""
    log = os.environ.get("TOY_LOG")
    if log:
        with Path(log).open("a") as file:
            file.write(f"{params['n']} {os.getpid()}\n")
    if str(params["n"]) == os.environ.get("TOY_FAILS_AT"):
        raise ValueError("seven is unlucky")
    if str(params["n"]) == os.environ.get("TOY_DIES_AT"):
        os._exit(9)
    _die_the_first_time(params["n"])
    time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
    return {"square": params["n"] ** 2, "third": params["n"] / 3}


def _die_the_first_time(n):
    """At the points of TOY_KILLED_AT, a list such as "3,5", the first attempt ends in a kill."""
    mark = Path(f"{os.environ.get('TOY_LOG')}.{n}")
    if str(n) in os.environ.get("TOY_KILLED_AT", "").split(",") and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)


def conclude(results):
    """The sum of the squares."""
    total = sum(result.values["square"] for result in results)
    claim = Claim("Squares add up.", "Euclid", "506", str(total), "confirmed", "They do.")
    rows = tuple((result.params["n"], result.values["square"]) for result in results)
    return Conclusion(f"The sum is {total}.", (claim,), (Table("t", "Squares", ("n", "n²"), rows),))


def weight(params):
    """Larger numbers are heavier."""
    return 1.0 + params["n"]


STUDY = Study("toy", "Squares", "What do squares add up to?", 1, plan, measure, conclude, weight)
