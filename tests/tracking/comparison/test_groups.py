from pathlib import Path

import pytest

from diffusion_lit.errors import UserError
from diffusion_lit.tracking.comparison.groups import find_group, group_runs
from diffusion_lit.tracking.comparison.runs import Run, run_names


def run(name, config, data="abc", seen=0):
    lines = [{"images_seen": seen, "time": 0.0}] if seen else []
    return Run(
        Path(name), name, "finished", record={"data": {"source": "mnist", "identity": data}}, config=config, lines=lines
    )


def config(seed=0, schedule="VP", lr=1e-3, **more):
    schedule = {"_target_": f"diffusion_lit.noise.{schedule}"} | ({"beta_max": 20.0} if schedule == "VP" else {})
    model = {"schedule": schedule, "denoiser": {"schedule": schedule}, "optimizer": {"lr": lr}}
    loader = {"seed": seed, "order": {"seed": 7}}
    return {"seed": seed, "model": model, "data": {"datamodule": loader}, "paths": {"run": f"/runs/{seed}"}, **more}


def named(runs):
    return {group.name: [runs[i].name for i in group.runs] for group in group_runs(runs)[0]}


def test_seeds_are_folded_and_groups_are_named_by_what_differs():
    runs = [
        run("a", config(1)),
        run("b", config(0)),
        run("c", config(0, "Cosine")),
        run("d", config(0, "Cosine", 2e-3)),
    ]
    assert named(runs) == {
        "lr=0.001, schedule=Cosine": ["c"],
        "lr=0.001, schedule=VP": ["b", "a"],
        "lr=0.002, schedule=Cosine": ["d"],
    }


def test_one_decision_is_told_once():
    runs = [run("a", config()), run("b", config(schedule="Cosine"))]
    [difference] = group_runs(runs)[1]
    assert (difference.key, difference.echoes) == ("model.schedule", ["model.denoiser.schedule"])
    assert difference.full == ["VP(beta_max=20)", "Cosine"]


def test_a_seed_that_does_not_follow_the_runs_seed_is_a_difference():
    other = config(0)
    other["data"]["datamodule"]["order"]["seed"] = 8
    [difference] = group_runs([run("a", config(0)), run("b", other)])[1]
    assert difference.key == "data.datamodule.order.seed"


def test_one_configuration_is_one_group_whatever_its_runs_are_called():
    runs = [run(f"r{s}", config(s, task_name=f"try-{s}", evaluation={"folder": f"/runs/{s}/x"})) for s in (10, 9, 2)]
    assert named(runs) == {"all runs": ["r2", "r9", "r10"]}
    assert group_runs(runs)[1] == []


def test_a_second_run_of_a_seed_does_not_count():
    runs = [run("first", config(0), seen=5), run("again", config(0), seen=9), run("other", config(1), seen=9)]
    [group] = group_runs(runs)[0]
    assert (group.runs, group.repeats) == ([1, 2], [0])


def test_other_data_is_a_difference_that_is_always_in_the_name():
    many = {f"key{i}": i for i in range(9)}
    runs = [run("a", config(), "abc123"), run("b", config(**many), "def456")]
    groups, differences = group_runs(runs)
    assert [group.name for group in groups] == ["data=mnist abc123, +9 more", "data=mnist def456, +9 more"]
    assert "data" in [one.key for one in differences]


def test_how_runs_are_measured_makes_no_group_of_its_own():
    evaluator = {"evaluator": {"_target_": "x.Restoration", "n": 16}}
    runs = [run("a", config(0)), run("b", config(1, callbacks={"restoration": evaluator}, every={"log": 3}))]
    groups, differences = group_runs(runs)
    assert len(groups) == 1
    assert differences
    assert all(difference.measuring for difference in differences)


def test_arguments_are_in_a_name_only_where_they_tell_objects_apart():
    def objective(**arguments):
        return config(objective={"_target_": "x.Score", "same": 1, **arguments})

    runs = [run("a", objective(k=1)), run("b", objective(k=2)), run("c", config(objective={"_target_": "x.Other"}))]
    assert list(named(runs)) == ["objective=Other", "objective=Score(k=1)", "objective=Score(k=2)"]


def test_what_has_no_configuration_stands_alone():
    groups, _ = group_runs([run("a", {}), run("b", config()), run("c", config(1))])
    assert [group.name for group in groups] == ["all runs", "a"]


def test_a_baseline_is_named_by_a_part_of_the_group_or_by_a_run():
    runs = [run("a", config()), run("b", config(schedule="Cosine"))]
    groups, _ = group_runs(runs)
    assert [find_group(groups, runs, name) for name in ("", "VP", "schedule=Cosine", "a")] == [0, 1, 0, 1]
    with pytest.raises(UserError, match="names 2 of the groups"):
        find_group(groups, runs, "schedule")
    with pytest.raises(UserError, match="names 0 of the groups"):
        find_group(groups, runs, "linear")


def test_names_are_as_short_as_they_can_be(tmp_path):
    assert run_names([tmp_path / "a" / "demo", tmp_path / "a" / "other"]) == ["demo", "other"]
    assert run_names([tmp_path / "a" / "demo", tmp_path / "b" / "demo"]) == ["a/demo", "b/demo"]
