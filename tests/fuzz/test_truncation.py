"""A small run cut at every byte of every file: an error or a chunk left out, no half record."""

import warnings

import pytest

from deephochuli.errors import StoreError
from deephochuli.store import open_run
from tests.fuzz.cases import _ask_chunk, make_grounds
from tests.fuzz.mutations import PARQUET, seal


def cut_all(folder, every: int) -> int:
    """Cut each file at each of some sizes, sealed as it was and sealed again; returns how often."""
    n_cuts = 0
    for ground in make_grounds(folder):
        for name, data in ground.files.items():
            for size in range(0, len(data), every):
                files = ground.files | {name: data[:size]}
                ground.put(files)
                assert is_noticed(ground), f"{name} cut at {size} of {len(data)}"
                n_cuts += 1
                if ground.version > 1 and name in PARQUET:
                    seal(files)
                    ground.put(files)
                    with pytest.raises(StoreError):
                        _ask_chunk(ground, name.partition(".")[0])
                    n_cuts += 1
                ground.restore(files)
    return n_cuts


def is_noticed(ground) -> bool:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            reader = open_run(ground.run)
        except StoreError:
            return True
    return len(said) == 1 and reader.n_chunks == 0 and len(reader.damaged) == 1


def test_cuts_here_and_there(tmp_path):
    assert cut_all(tmp_path, every=211) > 200


@pytest.mark.slow
def test_cuts_at_every_byte(tmp_path):
    assert cut_all(tmp_path, every=1) > 50_000
