import inspect
import subprocess
import sys

import pytest

import deephochuli


@pytest.mark.parametrize("name", deephochuli.__all__)
def test_every_public_name_is_there(name):
    assert getattr(deephochuli, name) is not None
    assert name in dir(deephochuli)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'recrod'"):
        _ = deephochuli.recrod


FIRST_IMPORTS = (
    "import deephochuli.record",
    "from deephochuli.record import Recording",
    "import deephochuli.report",
    "from deephochuli import record, report",
    "pass",
)


def test_a_part_is_a_verb_whatever_was_imported_first():
    """One process, the package forgotten between the cases: torch takes long to import."""
    code = (
        "import sys\n"
        f"for first in {FIRST_IMPORTS!r}:\n"
        "    for name in [n for n in sys.modules if n.split('.')[0] == 'deephochuli']:\n"
        "        del sys.modules[name]\n"
        "    exec(first)\n"
        "    import deephochuli as dh\n"
        "    assert callable(dh.record) and callable(dh.report), first\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_verb_has_the_signature_of_its_function():
    from deephochuli.record import record

    assert inspect.signature(deephochuli.record) == inspect.signature(record)


def test_a_verb_passes_arguments_and_errors_on():
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'model'"):
        deephochuli.record()


def test_importing_costs_little_beyond_torch():
    code = (
        "import torch, time; began = time.process_time(); import deephochuli; "
        "print(time.process_time() - began)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert float(done.stdout) < 0.3
