"""The judge of reductions against brute force, and what it says of made-up gradients."""

import itertools

import numpy as np
import pytest
import torch

import deephochuli as dh
from deephochuli.analysis.reduction import judge
from deephochuli.errors import StoreError, TapError
from deephochuli.formats import get_format

FP8 = get_format("e5m2")


def write(folder, step, rank, before, after, *, n_ranks=2, dtype="bfloat16", owner="w"):
    (folder / "reduction").mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / "reduction" / f"step-{step:08d}.rank-{rank}.npz",
        owner=np.array([owner] * len(before)),
        before=np.array(before, np.float64),
        after=np.array(after, np.float64),
        dtype=np.array([dtype] * len(before)),
        ranks=np.array([rank, n_ranks]),
    )


def nearest(x, fmt):
    """The nearest value of a format, ties to the even code, by looking at all of them."""
    values = sorted({float(v) for v in fmt.values() if np.isfinite(v)})
    if abs(x) >= fmt.overflow_threshold:
        return float(np.copysign(np.inf, x))
    distance = min(abs(v - x) for v in values)
    best = [v for v in values if abs(v - x) == distance]
    even = [v for v in best if values.index(v) % 2 == values.index(0.0) % 2]
    return (even or best)[0]


def test_the_judge_agrees_with_brute_force():
    some = [0.0, 2.0**-16, -0.25, 1.0, 1.75, -96.0, 57344.0]
    for given in itertools.product(some, repeat=3):
        given = [*given, 0.0]  # a mean of four is exact in binary64
        mean = sum(given) / 4
        result = nearest(mean, FP8)
        judged = judge(given, result, FP8)
        traceless = [g for g in given if g and nearest(mean - g / 4, FP8) == result]
        assert judged.n_traceless == len(traceless), given
        assert judged.n_contributions == sum(g != 0 for g in given)
        assert judged.is_rounded


def test_a_result_that_was_rounded_on_the_way_is_seen():
    bf16 = get_format("bf16")
    judged = judge([1.0, 2.0**-8, 2.0**-8, 0.0], 0.25, bf16)  # each swamped alone; together not
    assert (judged.n_contributions, judged.n_traceless, judged.is_rounded) == (3, 0, False)
    assert judge([1.0, float("nan")], 0.0, bf16) is None


def test_overflow_of_the_sum_is_none_of_the_mean():
    fp16 = get_format("fp16")
    assert judge([60000.0, 60000.0], float("inf"), fp16).is_overflow
    assert not judge([60000.0, 60000.0], 60000.0, fp16).is_overflow


def test_the_answer_counts_gradients_and_says_what_to_do(tmp_path):
    large, small = [1.0] * 40, [2.0**-12] * 30 + [0.5] * 10
    means = [0.5] * 30 + [0.75] * 10
    for rank, before in enumerate((large, small)):
        write(tmp_path, 0, rank, before, means)
    answer = dh.reduction(tmp_path)
    assert (answer.total.n, answer.total.n_swamped, answer.total.n_unrounded) == (40, 30, 0)
    assert answer.total.low < 0.75 < answer.total.high
    [finding] = answer.findings
    assert (finding.kind, finding.level, finding.layer) == ("swamped-reduction", "warning", "w")
    assert "75.0 %" in str(answer)
    assert answer.sheet().tables[0].rows[0][:3] == ("w", "bf16", 40)


def test_a_step_that_not_every_rank_has_seen_is_left_out(tmp_path):
    for step, ranks in enumerate([(0, 1), (1,), (0, 1)]):
        for rank in ranks:
            write(tmp_path, step, rank, [1.0], [1.0])
    assert dh.reduction(tmp_path).steps == (0, 2)


def test_results_that_differ_between_ranks_are_found(tmp_path):
    for rank in range(2):
        write(tmp_path, 0, rank, [1.0, 3.0], [1.0, 3.0 + rank])
    answer = dh.reduction(tmp_path)
    assert answer.n_unlike == 1
    assert answer.findings[0].kind == "unlike-reduction"


def test_compressed_gradients_are_known_by_their_numbers(tmp_path):
    rng = np.random.default_rng(0)
    wide = rng.standard_normal(64).astype(np.float32)
    narrow = torch.from_numpy(wide).bfloat16().float().numpy()
    for rank in range(2):
        write(tmp_path / "narrow", 0, rank, wide, narrow, dtype="float32")
        write(tmp_path / "wide", 0, rank, wide, wide, dtype="float32")
    assert dh.reduction(tmp_path / "narrow").total.fmt == "bf16"
    assert dh.reduction(tmp_path / "wide").total.fmt == "fp32"


def test_what_is_no_reduction_is_refused(tmp_path):
    with pytest.raises(StoreError, match="holds no reductions that all ranks have seen"):
        dh.reduction(tmp_path)
    write(tmp_path, 0, 0, [1.0], [1.0], n_ranks=1)
    file = next((tmp_path / "reduction").iterdir())
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"PK"):
        file.write_bytes(damaged)
        with pytest.raises(StoreError, match="is damaged"):
            dh.reduction(tmp_path)
    np.savez(file, owner=np.array([1]), before=[1.0], after=[1.0], dtype=np.array(["x"]), ranks=[0])
    with pytest.raises(StoreError, match="its arrays are not those of a reduction"):
        dh.reduction(tmp_path)


def test_files_with_objects_are_not_run(tmp_path):
    (tmp_path / "reduction").mkdir()
    file = tmp_path / "reduction" / "step-00000000.rank-0.npz"
    np.savez(file, owner=np.array([object()], dtype=object), allow_pickle=True)
    with pytest.raises(StoreError, match="is damaged"):
        dh.reduction(tmp_path)


def test_ranks_of_different_trainings_do_not_belong_together(tmp_path):
    write(tmp_path, 0, 0, [1.0], [1.0], owner="a")
    write(tmp_path, 0, 1, [1.0], [1.0], owner="b")
    with pytest.raises(StoreError, match="do not belong together"):
        dh.reduction(tmp_path)


def test_only_ddp_can_be_looked_at(tmp_path):
    with pytest.raises(TapError, match="Reductions of a Linear cannot be looked at"):
        dh.watch_reduction(torch.nn.Linear(1, 1), to=tmp_path)
