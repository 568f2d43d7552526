"""A run on disk: what is recorded goes in step by step, and comes out as numpy arrays.

Writing::

    with RunWriter(path, Manifest(...)) as writer:      # a new or empty folder
        writer.append(StepRow(step=0, wall_s=0.1, loss=2.3), [TapRow(...), ...])

    RunWriter(path, manifest, *, chunk_steps=32, chunk_seconds=30.0, max_bytes=None,
              buffer_bytes=16 << 20, resume=False, resume_step=None)
        .append(step: StepRow, taps: Sequence[TapRow])  never raises an Exception; copies arrays
        .flush()  .close()  .is_open  .manifest  .path

    StepRow(*, step, wall_s, loss=None, loss_scale=None, skipped=False, lr=None, n_micro_batches=1)
    TapRow(*, layer, quantity, module, module_type, role, dtype, order, calls,
           sum, sum_sq, min_abs, max_abs, key, count,
           positive=None, zero=None, nonfinite=None,
           n_updatable=None, n_unmoved=None, ratio=None, ratio_count=None)

n, n_zero, n_subnormal, n_inf, n_nan, n_channels, n_per_channel and n_silent_channels follow from
the lists, so the writer derives them.

Reading::

    run = open_run(path)
    run.manifest  run.finished  run.damaged  run.n_chunks
    run.steps                       -> {"step": ..., "loss": ..., "has_loss": ..., ...}
    run.taps()                      -> [TapInfo(layer, quantity, module, module_type, role, dtype,
                                        order, n_records, n_channels), ...]
    run.find(layer, quantity)       -> index in taps()
    run.scalars(layer, quantity)    -> {"step": ..., "n": ..., "n_zero": ..., ...}
    run.all_scalars(columns=...)    -> {"tap": ..., "step": ..., ...}, sorted by tap and step
    run.history(layer, quantity)    -> steps, [(keys, counts), ...]
    run.whole(layer, quantity)      -> MergedTap, over the whole run
    run.rollups(lists=...)          -> Rollups: rows per tap and chunk, lists as Ragged
    run.records(lists=...)          -> the same per tap and recorded step, for short runs
    run.channels(layer, quantity)   -> Channels, per chunk
    run.fold(kind)                  -> what a Fold holds of all rows, such as Courses and Windows
    run.prepare(*kinds)             brings several up to date, reading each file once
    run.refresh()                   -> whether a writer has added anything; answers follow
    run.has_writer                  -> whether a process that may still live writes the run now
    run.superseded                  -> chunks whose steps a resumed training recorded again

The folder holds manifest.json and chunk-000000/{taps,sketches,rollup,steps}.parquet, which pandas,
polars, DuckDB and pyarrow read as they are; `TAP_COLUMNS` and `STEP_COLUMNS` describe each column.
chunk.json has the checksums of a chunk. Folders of older versions are read as well.
"""

from __future__ import annotations

from deephochuli.store._answers import Channels, Damage, MergedTap, Rollups, TapInfo
from deephochuli.store._courses import Courses
from deephochuli.store._folds import ChunkRows, Fold
from deephochuli.store._manifest import (
    Manifest,
    ModelSummary,
    OptimizerSummary,
    RankOf,
    RanksOf,
    Session,
)
from deephochuli.store._merge import add_floats
from deephochuli.store._open import open_run
from deephochuli.store._ragged import Ragged
from deephochuli.store._ranks import RanksReader, rank_folder, rank_folders
from deephochuli.store._reader import RunReader
from deephochuli.store._rows import StepRow, TapRow
from deephochuli.store._schema import SCHEMA_VERSION, STEP_COLUMNS, TAP_COLUMNS, Column
from deephochuli.store._slots import KEYS_PER_BINADE_LOG2, by_half_binade, half_binades
from deephochuli.store._windows import Histograms, Windows
from deephochuli.store._writer import RunWriter

__all__ = [
    "KEYS_PER_BINADE_LOG2",
    "SCHEMA_VERSION",
    "STEP_COLUMNS",
    "TAP_COLUMNS",
    "Channels",
    "ChunkRows",
    "Column",
    "Courses",
    "Damage",
    "Fold",
    "Histograms",
    "Manifest",
    "MergedTap",
    "ModelSummary",
    "OptimizerSummary",
    "Ragged",
    "RankOf",
    "RanksOf",
    "RanksReader",
    "Rollups",
    "RunReader",
    "RunWriter",
    "Session",
    "StepRow",
    "TapInfo",
    "TapRow",
    "Windows",
    "add_floats",
    "by_half_binade",
    "half_binades",
    "open_run",
    "rank_folder",
    "rank_folders",
]
