"""`train -m`: a sweep in this process, its mistakes, its end by a signal."""

import os
import sys
from pathlib import Path

import pytest

from diffusion_lit.cli import main
from diffusion_lit.commands import train
from diffusion_lit.commands.multirun import sweep
from diffusion_lit.configuration import run_config
from tests.commands.small import LIGHTNING, SMALL

pytestmark = pytest.mark.filterwarnings(*LIGHTNING)


def test_each_run_is_the_one_that_train_alone_would_make_and_a_repeated_sweep_goes_on(shards, tmp_path, capsys):
    words = [*SMALL, "callbacks=minimal", "max_images=64", f"paths.data={shards}", f"paths.runs={tmp_path}"]
    before = list(sys.argv)
    assert main(["train", "-m", *words, "seed=0,1"]) == 0
    assert sys.argv == before
    assert "HYDRA_FULL_ERROR" not in os.environ
    made = {str(path.parent) for path in tmp_path.glob("*/run.json")}
    assert made == {run_config([*words, f"seed={seed}"]).paths.run for seed in (0, 1)}
    assert [path.name for path in (tmp_path / "sweeps").glob("*/*.yaml")] == ["multirun.yaml"]
    capsys.readouterr()
    assert main(["train", "--multirun", *words, "seed=0,1"]) == 0
    assert capsys.readouterr().out.count("trained already") == 2


@pytest.fixture
def fitted(tmp_path, monkeypatch):
    """The configurations that would be trained; a run of seed 1 is stopped by Ctrl-C."""
    monkeypatch.chdir(tmp_path)
    seen = []

    def fit(config):
        seen.append(config)
        return 130 if config.seed == 1 else 0

    monkeypatch.setattr(train, "fit", fit)
    return seen


def test_a_grid_of_hparams_search(fitted):
    sweep(["-m", "experiment=mnist", "hparams_search=optimizer", "seed=5,6"], train.fit)
    assert [(config.model.optimizer.lr, config.seed) for config in fitted] == [
        (lr, seed) for lr in (5e-4, 1e-3, 2e-3) for seed in (5, 6)
    ]
    assert all(config.resume == "auto" for config in fitted)
    assert len({config.run_identity for config in fitted}) == 6


def test_ctrl_c_ends_the_sweep(fitted):
    with pytest.raises(SystemExit) as caught:
        main(["train", "-m", "experiment=mnist", "seed=0,1,2"])
    assert caught.value.code == 130
    assert [config.seed for config in fitted] == [0, 1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seed=0,1", "trainer=ddp_sim"], "submit"),
        (["trainer=cpu,ddp"], "submit"),
        (["seed=0,1", "++trainer.num_nodes=2"], "submit"),
        (["seed=0,1", "trainer=ddp_sim", "hydra/launcher=submitit_local"], "submit"),
        (["seed=0,1", "max_imags=2"], "max_imags"),
        (["model=unet,dti"], "model/dti"),
    ],
)
def test_mistakes_are_told_before_anything_is_trained(fitted, capsys, words, message):
    assert main(["train", "-m", *words]) == 2
    assert message in capsys.readouterr().err
    assert fitted == []
    assert not Path("runs").exists()
