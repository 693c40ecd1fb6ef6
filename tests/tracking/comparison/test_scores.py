"""What a number depends on, what is averaged, and what is claimed."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from diffusion_lit.tracking.comparison.compare import compare_runs
from diffusion_lit.tracking.comparison.numbers import evaluations
from diffusion_lit.tracking.comparison.runs import Run
from diffusion_lit.tracking.comparison.verdicts import judge
from tracking.synthetic import measured

RESTORATION = "restoration/box12/mmps/ema-0.05/psnr_hidden"
DISTANCE = "fd/alex-256@64/n=1000/ema-0.05/heun-23"


def run(name, seed, group="a", *, data="abc", finished=True, summary=None, setup=None, model=None, **metrics):
    """A run whose metrics.jsonl has one line a thousand images, given as lists of values."""
    length = max((len(values) for values in metrics.values()), default=0)
    lines = [
        {"images_seen": 1000 * (i + 1), "time": 100.0 + i} | {key: v[i] for key, v in metrics.items() if i < len(v)}
        for i in range(length)
    ]
    record = {
        "data": {"source": "mnist", "identity": data},
        "finished": "2030-01-01T00:00:00+00:00" if finished else None,
    }
    config = {"seed": seed, "group": group, "model": model or {}} | (measured() if setup is None else setup)
    return Run(Path(name), name, "finished" if finished else "running", "", record, config, summary or {}, lines)


def column(runs, key, equal=False):
    found = compare_runs(runs)
    scores = found.equal if equal else found.scores
    return next(one for one in scores.columns if one.key == key)


def test_the_mean_over_seeds_and_half_its_interval():
    found = column([run(f"r{s}", s, **{"psnr": [v]}) for s, v in enumerate([1.0, 2.0, 3.0])], "psnr")
    [cell] = found.cells
    assert (cell.mean, cell.half) == pytest.approx((2.0, 2.484138), abs=1e-6)
    assert cell.text("dB") == "2.0 ± 2.5 dB"
    assert cell.seeds == {"0": 1.0, "1": 2.0, "2": 3.0}


def test_one_seed_claims_nothing_but_its_own_standard_error():
    runs = [run("a", 0, "a", nll=[2.0]), run("b", 0, "b", **{"nll": [3.0], "nll/standard_error": [0.1]})]
    found = column(runs, "nll")
    assert [cell.half for cell in found.cells] == [None, pytest.approx(0.196)]
    assert judge(found, 0).marks == "bs"
    assert "nll/standard_error" not in [one.key for one in compare_runs(runs).scores.columns]


def test_better_and_worse_are_said_only_after_the_correction():
    rng = np.random.default_rng(0)
    noise = {group: 0.1 * rng.normal(size=4) for group in "abcd"}
    gains = {"a": 0.0, "b": 1.0, "c": -1.0, "d": 0.02}
    runs = [run(f"{g}{s}", s, g, psnr=[gains[g] + noise[g][s]]) for g in gains for s in range(4)]
    found = column(runs, "psnr")
    verdicts = judge(found, 0)
    assert verdicts.marks == "b+-n"
    assert verdicts.best == {1}
    raw = stats.ttest_ind(gains["b"] + noise["b"], noise["a"], equal_var=False).pvalue
    assert 1 <= verdicts.tests[1].p / raw <= 3
    assert not verdicts.tests[1].paired


def test_five_common_seeds_are_compared_in_pairs():
    rng = np.random.default_rng(0)
    common = rng.normal(size=5)
    runs = [
        run(f"{g}{s}", s, g, psnr=[common[s] + gain + 0.01 * rng.normal()])
        for g, gain in (("a", 0.0), ("b", 0.1))
        for s in range(5)
    ]
    # the order of the folders must not matter for what is paired
    verdicts = judge(column(runs[::-1], "psnr"), 0)
    assert verdicts.tests[1].paired
    assert verdicts.marks == "b+"
    assert verdicts.tests[1].difference == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"data": "def"}, "data mnist def instead of mnist abc"),
        ({"finished": False}, "images seen 1,000 instead of all"),
        ({"setup": measured(n=16)}, "n 16 instead of 64"),
    ],
)
def test_what_was_measured_otherwise_is_neither_ranked_nor_tested(other, reason):
    runs = [run(f"a{s}", s, "a", **{RESTORATION: [10.0 + s]}) for s in range(3)]
    runs += [run(f"b{s}", s, "b", **other, **{RESTORATION: [20.0 + s]}) for s in range(3)]
    found = column(runs, RESTORATION)
    baseline = next(g for g, cell in enumerate(found.cells) if cell.mean == 11.0)
    verdicts = judge(found, baseline)
    assert verdicts.marks[1 - baseline] == "x"
    assert (verdicts.best, verdicts.tests) == (set(), {})
    assert reason in found.why(found.cells[1 - baseline].kind, verdicts.reference)


def test_losses_of_other_objectives_are_not_comparable_but_distances_are():
    def model(target):
        return {"objective": {"_target_": f"diffusion_lit.objectives.{target}"}}

    metrics = {"validation/loss/ema-0.05": [0.1], DISTANCE: [5.0]}
    runs = [run("a", 0, model=model("Simple"), **metrics), run("b", 0, model=model("Hybrid"), **metrics)]
    loss = column(runs, "validation/loss/ema-0.05")
    assert judge(loss, 0).marks == "bx"
    assert loss.why(1, 0) == "objective Hybrid instead of Simple"
    assert judge(column(runs, DISTANCE), 0).marks == "bs"


def test_seeds_that_were_measured_otherwise_are_left_out_of_a_mean():
    runs = [run(f"r{s}", s, **{RESTORATION: [10.0 + s]}) for s in range(2)]
    runs.append(run("odd", 2, setup=measured(n=16), **{RESTORATION: [99.0]}))
    [cell] = column(runs, RESTORATION).cells
    assert cell.mean == 10.5
    assert cell.notes == ["seed 2 left out: n 16 instead of 64"]


def test_a_short_name_is_compared_by_the_full_one():
    summary = {"psnr_hidden/sample": 12.0, "fd_alex/model": 5.0, "images_seen": 1000}
    other = DISTANCE.replace("n=1000", "n=500")
    runs = [
        run("a", 0, "a", summary=summary, **{RESTORATION: [12.0], DISTANCE: [5.0]}),
        run("b", 0, "b", summary=summary | {"fd_alex/model": 4.0}, **{RESTORATION: [12.0], other: [4.0]}),
    ]
    keys = [one.key for one in compare_runs(runs).scores.columns]
    assert keys == ["psnr_hidden/sample", "fd_alex/model"]  # the long names would say the same again
    distance = column(runs, "fd_alex/model")
    assert sorted(distance.names) == sorted([DISTANCE, other])
    verdicts = judge(distance, 0)
    assert (verdicts.marks, verdicts.best) == ("bx", set())
    assert judge(column(runs, "psnr_hidden/sample"), 0).marks == "bs"


def test_evaluations_after_training_are_told_from_those_in_it():
    def evaluated(name, seed, values):
        made = run(name, seed, **{RESTORATION: values})
        made.lines[-1]["time"] = 4e9  # long after "finished"
        made.config["callbacks"] = measured(n=16)["callbacks"]
        return made

    runs = [evaluated("a", 0, [8.0, 10.0]), evaluated("b", 1, [8.0, 12.0])]
    found = column(runs, RESTORATION)
    assert found.kinds[0]["n"] == "64"
    assert found.cells[0].mean == 11.0


def test_a_summary_of_an_earlier_checkpoint_is_not_one_of_the_end():
    summary = {"psnr/sample": 12.0, "images_seen": 2000}
    late = run("a", 0, "a", summary=summary | {"images_seen": 3000}, nll=[3.0, 2.0, 1.0])
    early = run("b", 0, "b", summary=summary, nll=[3.0, 2.0, 1.0])
    found = column([late, early], "psnr/sample")
    assert judge(found, 0).marks == "bx"
    assert found.why(1, 0) == "images seen 2,000 instead of all"


def test_an_evaluation_of_a_run_that_is_not_finished_is_told_by_when_it_measured():
    made = run("a", 0, finished=False, **{RESTORATION: [8.0, 10.0]})
    made.config["batch_size"] = 100
    made.config["callbacks"] = measured(n=16)["callbacks"]
    made.config["callbacks"]["restoration"]["every"] = 950  # 1,000 is the step that passes it; 2,000 is past its next
    assert evaluations(made) == {1}
    assert column([made], RESTORATION).kinds[0]["n"] == "64"
    made.config["callbacks"]["restoration"]["every"] = 1000
    assert evaluations(made) == set()
    assert column([made], RESTORATION).kinds[0]["n"] == "16"


def test_a_diverged_seed_leaves_no_mean():
    runs = [run(f"r{s}", s, psnr=[v]) for s, v in enumerate([1.0, math.nan, 3.0])]
    [cell] = column(runs, "psnr").cells
    assert math.isnan(cell.mean)
    assert cell.half is None
    assert cell.notes == ["not finite with seed 1, so there is no mean"]
    assert json.dumps(cell.text("")) == '"not a number"'


def test_numbers_at_equal_images_seen():
    runs = [run("a", 0, "a", psnr=[1.0, 2.0, 3.0]), run("b", 0, "b", finished=False, psnr=[1.5, 2.5])]
    assert judge(column(runs, "psnr"), 0).marks == "bx"
    found = column(runs, "psnr", equal=True)
    assert [cell.mean for cell in found.cells] == [2.0, 2.5]
    assert judge(found, 0).best == {1}
    assert compare_runs([run("a", 0, psnr=[1.0]), run("b", 1, psnr=[1.0])]).equal is None


def test_times_are_compared_on_one_kind_of_machine_only():
    runs = [run("a", 0, "a", seconds=[1.0]), run("b", 0, "b", seconds=[2.0]), run("c", 0, "c", data="x", seconds=[2.0])]
    for one, cpu in zip(runs, ("slow", "fast", "slow")):
        one.record["hardware"] = {"cpu": cpu, "cores": 2}
    assert judge(column(runs, "seconds"), 0).marks == "bxs"
