"""The command: what --dry-run prints, what is refused before the queue, and what sbatch is told."""

import json
import os
import re
import shlex
from dataclasses import asdict
from pathlib import Path

import pytest

from diffusion_lit.cli import main
from diffusion_lit.cluster import Cluster, spread
from diffusion_lit.configuration import compose_config, config_folder, plain, run_config
from diffusion_lit.reproduction import Experiment, Result

ROOT = Path(__file__).parents[2]
OPTIONS = sorted(path.stem for path in (config_folder() / "cluster").glob("*.yaml"))
APART = "paths.run=runs/demo-${seed}"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def printed(capsys, *words: str) -> str:
    assert main(["submit", *words, "--dry-run"]) == 0
    return capsys.readouterr().out


def refused(capsys, *words: str) -> str:
    assert main(["submit", *words, "--dry-run"]) == 2
    message = capsys.readouterr().err
    assert "\n" not in message.strip()
    return message


def files(text: str) -> dict[str, str]:
    """What is printed, by the names of the files."""
    parts = [part.split("\n", 1) for part in text.split("==> ")[1:]]
    return {name: body.removesuffix("\n") for name, body in parts}


@pytest.mark.parametrize("name", OPTIONS)
def test_every_cluster_is_read(name):
    cluster = Cluster.read(plain(compose_config("submit", [f"cluster={name}"]))["cluster"])
    assert cluster.ranks == {"default": 1, "cpu": 2, "one_gpu": 1, "one_node": 8, "several_nodes": 16}[name]
    text = (config_folder() / "cluster" / f"{name}.yaml").read_text()
    assert text.startswith("# ")


def test_a_dry_run_prints_the_file_and_touches_nothing(capsys, tmp_path):
    text = printed(capsys, "experiment=demo", "cluster=one_gpu", "cluster.time=8:00:00")
    assert list(tmp_path.iterdir()) == []
    (script, body), (commands, lines) = files(text).items()
    assert script.startswith("runs/slurm/demo-")
    assert "#SBATCH --time=8:00:00\n" in body
    assert "run=runs/demo\n" in body
    assert "diffusion-lit train experiment=demo trainer=gpu resume=auto \"paths.run='$run'\" ||" in body
    assert commands == "commands"
    assert lines.splitlines() == ["mkdir -p runs/slurm", f"job1=$(sbatch --parsable {script})"]


def test_axes_become_an_array_of_runs_of_their_own(capsys):
    words = ["experiment=mnist", "seed=range(2)", "model.denoiser.network.width=8,16", "cluster.parallel=2"]
    text = files(printed(capsys, *words))
    body, listed = [text[name] for name in text if name != "commands"]
    assert "#SBATCH --array=0-3%2\n" in body
    rows = [line.split("\t") for line in listed.splitlines()]
    assert [row[2] for row in rows] == [
        f"seed={seed} model.denoiser.network.width={width}" for seed in (0, 1) for width in (8, 16)
    ]
    for number, (_, run, own) in enumerate(rows):
        assert run == run_config(["experiment=mnist", *own.split()]).paths.run, "the folder that train gives it"
        assert f"    {number}) run={run}; set -- {own} ;;\n" in body
    assert len({run for _, run, _ in rows}) == 4


def test_resources_do_not_change_the_run(capsys):
    def run(*words: str) -> str:
        text = printed(capsys, "experiment=mnist", *words)
        [line] = [line for line in text.splitlines() if line.startswith("run=")]
        return line.removeprefix("run=")

    assert run() == run("cluster=cpu") == run_config(["experiment=mnist"]).paths.run
    on_gpus = run_config(["experiment=mnist", "trainer=gpu"]).paths.run
    assert run("cluster=one_gpu") == run("cluster=one_node") == run("cluster.gpus=1", "cluster.nodes=4") == on_gpus


def test_evaluation_and_comparison_follow(capsys):
    text = files(printed(capsys, "experiment=demo", APART, "seed=0,1", "cluster.gpus=8", "then=evaluate,compare"))
    evaluate, compare = (
        next(text[name] for name in text if f"demo-{step}" in name and "sbatch" in name)
        for step in ("evaluate", "compare")
    )
    assert "    1) run=runs/demo-1 ;;\n" in evaluate
    assert 'diffusion-lit evaluate trainer.devices=8 +trainer.num_nodes=1 checkpoint="$run"\n' in evaluate
    assert "diffusion-lit compare runs/demo-0 runs/demo-1 out=runs/slurm/demo-" in compare
    assert "#SBATCH --gpus" not in compare
    assert "--signal" not in evaluate + compare, "only training knows what to do with it"
    commands = text["commands"].splitlines()
    assert "--dependency=aftercorr:$job1 --kill-on-invalid-dep=yes" in commands[2]
    assert "--dependency=afterany:$job2" in commands[3]


def test_a_single_run_is_evaluated_if_it_ends_well(capsys):
    text = files(printed(capsys, "experiment=demo", "then=evaluate"))
    assert "--dependency=afterok:$job1" in text["commands"]
    assert any(
        'run=runs/demo\nsrun --kill-on-bad-exit=1 diffusion-lit evaluate checkpoint="$run"\n' in t
        for t in text.values()
    )


def test_a_run_is_followed_by_one_process_beside_it(capsys):
    text = files(printed(capsys, "experiment=demo", "cluster.nodes=2", "cluster.gpus=4", "then=follow,compare"))
    follow = next(text[name] for name in text if "demo-follow" in name)
    assert 'run=runs/demo\nsrun --kill-on-bad-exit=1 diffusion-lit evaluate --follow "$run"\n' in follow
    assert "--nodes=1\n" in follow
    assert "--ntasks-per-node=1\n" in follow
    assert "--gpus-per-node=1\n" in follow
    assert "--dependency=after:$job1" in text["commands"]
    assert "--dependency=afterany:$job2" in text["commands"]


def test_an_experiment_is_an_array_of_what_is_missing_and_a_job_for_its_tables(capsys, tmp_path):
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    words = ["reproduce=score_matching_toys", "--tiny", "cluster.parallel=3"]
    entries, _, tables, commands = files(printed(capsys, *words)).values()
    assert "#SBATCH --array=0-7%3\n" in entries
    assert "; set -- --entry 3 ;;\n" in entries
    assert 'diffusion-lit reproduce score_matching_toys --tiny "$@" ' in entries
    assert tables.endswith("diffusion-lit reproduce score_matching_toys --tiny\n")
    assert "--dependency=afterok:$job1" in commands

    twin = Experiment.read(ROOT / "experiments" / "score_matching_toys").twin()
    scratch = tmp_path / "runs" / "experiments" / "score_matching_toys-tiny"
    scratch.mkdir(parents=True)
    results = [Result(e.labels, e.seed, e.identity, {}, 0.0, "", "", "") for e in twin.entries()]
    (scratch / "results-3.jsonl").write_text("".join(json.dumps(asdict(result)) + "\n" for result in results[2:]))
    left = files(printed(capsys, *words))
    assert "; set -- --entry 1 ;;\n" in next(iter(left.values()))
    assert "--entry 2" not in "".join(left.values())
    with (scratch / "results.jsonl").open("w") as file:
        file.writelines(json.dumps(asdict(result)) + "\n" for result in results[:2])
    assert "every entry is measured" in printed(capsys, *words)


def test_entries_that_share_a_training_are_one_element(capsys, tmp_path):
    folder = tmp_path / "experiments" / "shared"
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text(
        "title: t\nsource: s\ntrain: [data=ring, model=mlp]\ntables: []\nseeds: [0, 1]\n"
        "axes: {steps: {10: {steps: 10}, 20: {steps: 20}}}\n"
    )
    text = next(iter(files(printed(capsys, "reproduce=shared")).values()))
    assert "--array=0-1\n" in text
    assert "; set -- --entry 0,2 ;;\n" in text
    assert "; set -- --entry 1,3 ;;\n" in text


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["experiment=dmeo"], ["experiment/dmeo"]),
        (["experiment=demo", APART, "seed=0,1", "max_imags=3"], ["max_imags"]),
        (["experiment=demo", APART, "seed=0,1", "model=unet,dti"], ["model/dti"]),
        (["experiment=demo", "seed=0,1"], ["runs/demo: 2 elements", "paths.run="]),
        (["experiment=mnist", "seed=0,0"], ["2 elements"]),
        (["experiment=mnist", "seed=interval(0,1)"], ["interval", "choice"]),
        (["experiment=mnist", "seed=["], ["seed=["]),
        (["experiment=mnist", "cluster.ndoes=2"], ["ndoes"]),
        (["experiment=mnist", "+cluster.ndoes=2"], ["cluster.ndoes"]),
        (["experiment=mnist", "cluster.nodes=0"], ["cluster.nodes=0"]),
        (["experiment=mnist", "cluster=big"], ["cluster/big"]),
        (["experiment=mnist", "cluster.gpus=3"], ["data.lanes: 8", "3 processes", "data.lanes=24"]),
        (["experiment=mnist", "cluster=several_nodes"], ["16 processes (2 nodes x 8 GPUs)", "data.lanes=16"]),
        (["experiment=mnist", "cluster.gpus=8", "data.num_workers=2"], ["8 processes", "2 workers", "data.lanes=16"]),
        (["experiment=mnist", "cluster.gpus=5", "data.num_workers=5"], ["data.lanes=200 batch_size=3200"]),
        (["experiment=mnist", "resume=runs/x"], ["resume=runs/x", "checkpoint=PATH"]),
        (["experiment=mnist", "trainer.devices=2"], ["trainer.devices=2", "cluster.gpus"]),
        (["experiment=mnist", "then=celebrate"], ["then=celebrate", "evaluate, compare"]),
        (["experiment=mnist", "then=evaluate,follow"], ["then=follow", "comes first"]),
        (["experiment=mnist", "seed=0,1", "then=follow"], ["then=follow", "then=evaluate"]),
        (["reproduce=nothing"], ["nothing"]),
        (["reproduce=score_matching_toys", "seed=3"], ["seed=3"]),
        (["reproduce=score_matching_toys", "cluster=one_node"], ["1 node x 8 GPUs", "cluster=one_gpu"]),
        (["reproduce=score_matching_toys", "then=evaluate"], ["then="]),
    ],
)
def test_mistakes_cost_no_wait(capsys, words, names):
    message = refused(capsys, *words)
    assert all(name in message for name in names), message


def test_packed_shards_that_are_too_few_are_noticed(capsys, shards):
    words = ["data=digits", "batch_size=64", f"paths.data={shards}"]
    assert "note: " not in printed(capsys, *words, "cluster.gpus=8")
    message = refused(capsys, *words, "cluster.gpus=8", "data.lanes=16")
    assert "shards: 8 < 16" in message
    assert "not packed, as seen from here" in printed(capsys, "data=digits", "cluster.gpus=8")


@pytest.mark.parametrize(
    ("words", "common", "elements"),
    [
        (["seed=1", "tags=[a,b]"], ["seed=1", "tags=[a,b]"], [[]]),
        (["seed=1,2", "batch_size=8"], ["batch_size=8"], [["seed=1"], ["seed=2"]]),
        (
            ["model=choice(unet,dit)", "seed=range(2)"],
            [],
            [[f"model={m}", f"seed={s}"] for m in ("unet", "dit") for s in (0, 1)],
        ),
        (["task_name='a b','c,d'"], [], [["task_name='a b'"], ["task_name='c,d'"]]),
        (["+trainer.x=1,2"], [], [["+trainer.x=1"], ["+trainer.x=2"]]),
        (
            ["hparams_search=optimizer", "seed=3"],
            ["hparams_search=optimizer", "seed=3"],
            [[f"model.optimizer.lr={lr}"] for lr in (0.0005, 0.001, 0.002)],
        ),
        (["debug=glob(*,exclude=p*)"], [], [["debug=default"], ["debug=overfit"]]),
    ],
)
def test_axes_are_those_of_hydra(words, common, elements):
    assert spread(words) == (common, elements)


@pytest.fixture
def sbatch(tmp_path, monkeypatch):
    """A stand-in that keeps its arguments and environment, and answers with ids from 17 on."""
    (tmp_path / "bin").mkdir()
    tool = tmp_path / "bin" / "sbatch"
    tool.write_text('#!/bin/sh\necho "$@" >> calls\nenv > environment\necho $((16 + $(wc -l < calls)))\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    return tool


def test_submission_says_how_to_follow_the_job(capsys, tmp_path, sbatch, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "64")  # as inside another job
    monkeypatch.setenv("SLURM_CONF", "kept")
    monkeypatch.setattr("diffusion_lit.commands.submit._SHOWN", 2)
    words = ["experiment=demo", APART, "seed=range(3)", "cluster.setup=[]", "then=evaluate"]
    assert main(["submit", *words]) == 0
    out = capsys.readouterr().out
    assert "17  demo  (1 node x 1 process, 3 elements)" in out
    assert "18  demo-evaluate  (1 node x 1 process, 3 elements, aftercorr 17)" in out
    for line in [
        "squeue -j 17",
        "tail -F runs/slurm/demo-17_*.out",
        "scancel 17",
        "run       runs/demo-1  seed=1",
        "and 1 more",
    ]:
        assert line in out
    [script] = [path for path in (tmp_path / "runs" / "slurm").glob("demo-*.sbatch") if "evaluate" not in path.name]
    assert files(printed(capsys, *words))[str(script.relative_to(tmp_path))] == script.read_text()
    assert len(script.with_suffix(".tsv").read_text().splitlines()) == 3
    first, second = (tmp_path / "calls").read_text().splitlines()
    assert first == f"--parsable {script.relative_to(tmp_path)}"
    assert second.startswith("--parsable --dependency=aftercorr:17 --kill-on-invalid-dep=yes runs/slurm/demo-evaluate-")
    environment = (tmp_path / "environment").read_text()
    assert "SLURM_NTASKS" not in environment
    assert "SLURM_CONF=kept" in environment


def test_what_slurm_refuses_is_told(capsys, sbatch):
    sbatch.write_text("#!/bin/sh\necho 'sbatch: error: invalid partition specified: gpu' >&2\nexit 1\n")
    assert main(["submit", "experiment=demo", "cluster.setup=[]"]) == 2
    assert "invalid partition specified: gpu" in capsys.readouterr().err


def test_without_slurm_the_mend_is_told(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["submit", "experiment=demo", "cluster.setup=[]"]) == 2
    assert "--dry-run" in capsys.readouterr().err


def test_an_environment_that_is_not_there_is_told(capsys, sbatch, tmp_path):
    assert main(["submit", "experiment=demo"]) == 2
    assert ".venv/bin/activate" in capsys.readouterr().err
    assert not (tmp_path / "calls").exists()


READY = sorted((ROOT / "slurm").glob("*.sbatch"))


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_ready_files_are_what_their_second_line_prints(path, capsys):
    command = shlex.split(path.read_text().splitlines()[1].removeprefix("# "))
    assert command[:2] == ["diffusion-lit", "submit"]
    assert path.read_text() in files(printed(capsys, *command[2:])).values()


def test_the_page_about_ready_files_names_them_all():
    page = (ROOT / "slurm" / "README.md").read_text()
    assert {path.name for path in READY} == set(re.findall(r"^\| `(\w+\.sbatch)`", page, flags=re.MULTILINE))


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_slurm_takes_ready_files(path, slurm, tmp_path):
    done = slurm.call("bash", "-c", f"sbatch --test-only {path} 2>&1")
    assert "to start at" in done
