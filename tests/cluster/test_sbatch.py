"""Resources become an sbatch file: the golden files, and every value that is refused."""

from pathlib import Path

import pytest

from diffusion_lit.cluster import Cluster, Element, Job, listing, render
from diffusion_lit.errors import UserError

GOLDEN = Path(__file__).parent / "golden"

EVERYTHING = {
    "partition": "gpu",
    "account": "diffusion",
    "qos": "long",
    "constraint": "a100&ib",
    "exclude": "node[07,12]",
    "nodes": 2,
    "gpus": 8,
    "gpu_type": "a100",
    "cpus": 12,
    "memory": "480G",
    "time": "2-00:00:00",
    "grace": 300,
    "parallel": 2,
    "options": ["--mail-type=END,FAIL", "--exclusive"],
    "setup": ["module load cuda/12.4", "source ~/envs/lit/bin/activate"],
    "environment": {"NCCL_DEBUG": "WARN", "NCCL_SOCKET_IFNAME": "=ib0", "NCCL_IB_HCA": None, "OMP_NUM_THREADS": 4},
}
TRAIN = ("train", "experiment=demo", "resume=auto")
GIVEN = "\"paths.run='$run'\""
RUNS = tuple(Element((f"seed={seed}", "tags=[a, b]"), f"runs/demo-{seed}") for seed in range(3))
CASES = {
    "cpu": (Job("demo", "diffusion-lit submit experiment=demo", TRAIN, (Element((), "runs/demo"),), GIVEN), {}),
    "everything": (Job("sweep", "diffusion-lit submit experiment=demo seed=0,1,2", TRAIN, RUNS, GIVEN), EVERYTHING),
    "evaluation": (
        Job(
            name="evaluate",
            origin="diffusion-lit submit then=evaluate",
            command=("evaluate",),
            elements=tuple(Element((), run.run) for run in RUNS),
            given='checkpoint="$run"',
            saves=False,
            after="aftercorr",
        ),
        {"gpus": 1, "time": 30},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_golden(name):
    job, settings = CASES[name]
    text = render(job, Cluster.read(settings), Path("runs/slurm"))
    assert text == (GOLDEN / f"{name}.sbatch").read_text()


def test_no_golden_file_is_left_over():
    assert {path.stem for path in GOLDEN.iterdir()} == set(CASES)


def test_the_listing_has_a_line_for_each_element():
    assert listing(CASES["everything"][0]).splitlines()[1] == "1\truns/demo-1\tseed=1 'tags=[a, b]'"


def test_the_identity_names_all_that_a_job_is():
    job, settings = CASES["everything"]
    cluster = Cluster.read(settings)
    assert job.identity(cluster) == job.identity(Cluster.read(settings))
    assert job.identity(cluster) != job.identity(Cluster.read(settings | {"time": "1:00:00"}))
    assert job.identity(cluster) != Job(job.name, job.origin, job.command, job.elements[:2]).identity(cluster)


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"ndoes": 2}, ["ndoes", "nodes"]),
        ({"nodes": 0}, ["cluster.nodes=0", "at least 1"]),
        ({"nodes": 1.5}, ["cluster.nodes=1.5"]),
        ({"nodes": True}, ["cluster.nodes=True"]),
        ({"gpus": -1}, ["cluster.gpus=-1"]),
        ({"gpus": "all"}, ["cluster.gpus=all"]),
        ({"cpus": None}, ["cluster.cpus=None"]),
        ({"parallel": 0}, ["cluster.parallel=0"]),
        ({"gpus": 4, "processes": 2}, ["cluster.processes=2", "4 GPUs"]),
        ({"gpu_type": "a100"}, ["cluster.gpu_type=a100"]),
        ({"time": "a day"}, ["cluster.time=a day", "days-hours"]),
        ({"time": "1:2:3:4"}, ["cluster.time"]),
        ({"memory": "64 GB"}, ["cluster.memory=64 GB", "64G"]),
        ({"partition": "gpu\n#SBATCH --uid=0"}, ["cluster.partition"]),
        ({"name": "my job"}, ["cluster.name", "one word"]),
        ({"options": "--exclusive"}, ["cluster.options"]),
        ({"options": ["exclusive"]}, ["exclusive", "--mail-type"]),
        ({"options": ["--comment=a\nrm"]}, ["cluster.options"]),
        ({"setup": [3]}, ["cluster.setup"]),
        ({"environment": {"1A": 3}}, ["cluster.environment.1A"]),
        ({"environment": {"A": "x\ny"}}, ["cluster.environment.A"]),
    ],
)
def test_what_sbatch_would_not_take_is_refused(settings, names):
    with pytest.raises(UserError) as caught:
        Cluster.read(settings)
    assert all(name in str(caught.value) for name in names)


@pytest.mark.parametrize("time", ["90", 90, "1:30", "01:30:00", "2-12", "2-12:30", "2-12:30:00"])
def test_times_as_sbatch_has_them(time):
    assert f"--time={time}" in Cluster.read({"time": time}).directives


@pytest.mark.parametrize(
    ("settings", "words", "expected"),
    [
        ({}, [], ["trainer=cpu"]),
        ({"gpus": 1}, [], ["trainer=gpu"]),
        ({"gpus": 8}, [], ["trainer=ddp", "trainer.devices=8", "++trainer.num_nodes=1"]),
        ({"gpus": 1, "nodes": 2}, [], ["trainer=ddp", "trainer.devices=1", "++trainer.num_nodes=2"]),
        ({"processes": 2}, ["seed=1"], ["trainer=ddp_sim", "trainer.devices=2", "++trainer.num_nodes=1"]),
        ({"gpus": 4}, ["trainer=gpu"], ["trainer.devices=4", "++trainer.num_nodes=1"]),
    ],
)
def test_the_trainer_uses_what_the_job_gets(settings, words, expected):
    assert Cluster.read(settings).trainer(words) == expected


@pytest.mark.parametrize("word", ["trainer.devices=2", "++trainer.num_nodes=3"])
def test_the_number_of_devices_is_said_once(word):
    with pytest.raises(UserError, match=r"cluster\.gpus"):
        Cluster().trainer([word])


def test_a_missing_environment_is_noticed_before_the_queue(tmp_path):
    Cluster(setup=["module load cuda", f"source {tmp_path}  # there", 'source "$VENV"', "export A='b"]).check_setup()
    with pytest.raises(UserError, match=r"no nowhere/bin/activate"):
        Cluster(setup=["source nowhere/bin/activate  # mine"]).check_setup()
