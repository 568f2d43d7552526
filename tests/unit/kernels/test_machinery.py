"""What lies under the CPU back end: threads, processes, the cache of machine code."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import deephochuli
from deephochuli.errors import DeepHochuliWarning
from deephochuli.kernels import TensorJob, _pool, cpu_backend, reference_backend
from tests.unit.kernels.brute_force import check, sample

CODE = """
import torch
torch.set_num_threads(1)
from deephochuli.kernels import TensorJob, cpu_backend
import sys
print(cpu_backend().name, cpu_backend().summarise([TensorJob(torch.ones(3))])[0].counts.tolist())
"""


def run_python(code, **environment):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


def test_a_thread_pool_serves_where_there_is_no_gnu_openmp(compiled, threads, monkeypatch):
    monkeypatch.setattr(_pool, "_gomp_parallel", lambda: None)
    used = []
    executor = _pool._executor(os.getpid())
    monkeypatch.setattr(_pool, "_executor", lambda process: used.append(process) or executor)
    threads(2)
    x = sample(torch.float32, 3 << 18, 1, "randn")
    check(compiled.summarise([TensorJob(x)])[0], x)
    assert used == [os.getpid()]


@pytest.mark.skipif(sys.platform != "linux", reason="GNU OpenMP is found on Linux only")
def test_torch_threads_are_found_on_linux():
    assert torch.get_num_threads() >= 1
    assert _pool._gomp_parallel() is not None


@pytest.mark.parametrize(
    ("loaded", "found"),
    [
        ({"/p/torch/lib/libgomp.so.1"}, "/p/torch/lib/libgomp.so.1"),
        ({"/p/torch/lib/libgomp.so.1", "/p/other.libs/libgomp.so"}, "/p/torch/lib/libgomp.so.1"),
        ({"/usr/lib/libgomp.so.1"}, "/usr/lib/libgomp.so.1"),
        ({"/usr/lib/libgomp.so.1", "/p/other.libs/libgomp.so"}, None),
        (set(), None),
    ],
)
def test_torchs_threads_are_told_from_those_of_others(loaded, found):
    assert _pool.library_of_torch(loaded, Path("/p/torch")) == found


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_counts_on_one_thread(compiled, threads):
    threads(2)
    x = sample(torch.float32, 3 << 18, 1, "randn")
    expected = compiled.summarise([TensorJob(x)])[0]
    child = os.fork()
    if child == 0:
        torch.set_num_threads(1)
        got = compiled.summarise([TensorJob(x)])[0]
        good = np.array_equal(got.counts, expected.counts) and got.sum == expected.sum
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_without_numba_the_reference_serves_and_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    cpu_backend.cache_clear()
    try:
        with pytest.warns(DeepHochuliWarning, match="pip install numba"):
            assert cpu_backend().name == reference_backend().name
    finally:
        cpu_backend.cache_clear()


def test_a_fault_of_our_own_is_not_taken_for_a_missing_numba(monkeypatch):
    monkeypatch.setitem(sys.modules, "deephochuli.kernels._cpu", None)
    cpu_backend.cache_clear()
    try:
        with pytest.raises(ImportError, match="_cpu"):
            cpu_backend()
    finally:
        cpu_backend.cache_clear()


@pytest.mark.slow
def test_changed_sources_never_meet_old_machine_code(tmp_path):
    package = tmp_path / "deephochuli"
    source = Path(deephochuli.__file__).parent
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
    path = {"PYTHONPATH": str(tmp_path)}
    assert run_python(CODE, **path).stdout.strip() == "numba [3]"
    loops = package / "kernels" / "_cpu_vectors.py"
    stamp = loops.stat()
    # Same size and time stamp, another file than the one that holds the compiled function.
    text = loops.read_text()
    changed = text.replace("ir.Constant(I32, 1)), at)", "ir.Constant(I32, 2)), at)")
    assert changed != text
    loops.write_text(changed)
    os.utime(loops, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert run_python(CODE, **path).stdout.strip() != "numba [3]"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root writes anywhere")
def test_a_package_folder_that_cannot_be_written_to(tmp_path):
    package = tmp_path / "deephochuli"
    source = Path(deephochuli.__file__).parent
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "kernels").chmod(0o555)
    cache = tmp_path / "cache"
    done = run_python(CODE, PYTHONPATH=str(tmp_path), XDG_CACHE_HOME=str(cache))
    (package / "kernels").chmod(0o755)
    assert done.stdout.strip() == "numba [3]", done.stderr
    assert list(cache.rglob("*.nbi"))


@pytest.mark.slow
def test_no_folder_for_the_cache_at_all(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    code = "import numba.core.caching as c; c.CacheImpl._locator_classes = []\n" + CODE
    done = run_python(code, NUMBA_CACHE_DIR="")
    assert done.stdout.strip() == "numba [3]", done.stderr
