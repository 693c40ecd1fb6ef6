"""Every file of every group composes, and what it describes is built."""

import inspect
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from omegaconf import DictConfig

from diffusion_lit.callbacks import Periodic
from diffusion_lit.cluster import spread
from diffusion_lit.commands.build import build, build_data, build_trainer
from diffusion_lit.configuration import compose_config, config_folder, override, plain, run_config, split_arguments
from diffusion_lit.data import ShardsDataModule
from diffusion_lit.data.overfit import OneBatchDataModule
from diffusion_lit.data.toy import ToyDataModule
from diffusion_lit.errors import UserError
from diffusion_lit.modules import DiffusionModule

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*`srun` command is available.*",
    "ignore:GPU available but not used",
    "ignore:.*overfit.*",
)

TO_GIVE = {"image_folder": ["path"], "npz": ["path"], "cifar10": ["path"], "idx": ["images"]}
VARIANCE = [
    "+model.denoiser.variance._target_=diffusion_lit.reverse.Interpolated",
    "+model.denoiser.variance.steps=1000",
]
SMALL = ["model.denoiser.network.width=8", "model.denoiser.network.blocks=1"]


def options(group: str) -> list[str]:
    return sorted(f.stem for f in (config_folder() / group).glob("*.yaml") if not f.stem.startswith("_"))


def given(data: str) -> list[str]:
    return [f"data.pack.{key}=given" for key in TO_GIVE.get(data, [])]


def composed(folder: Path, *overrides: str) -> DictConfig:
    return run_config([*overrides, f"paths.run={folder}"])


def test_no_group_is_forgotten_here():
    groups = {path.name for path in config_folder().iterdir() if path.is_dir()}
    assert groups == {
        *("callbacks", "cluster", "compile", "data", "debug", "evaluation", "experiment", "hparams_search", "hydra"),
        *("logger", "model", "paths", "trainer"),
    }
    assert {"demo", "mnist", "fashion_mnist", "photos", "cifar10"} <= set(options("experiment"))
    assert {"cpu", "gpu", "ddp", "ddp_sim", "fsdp"} == set(options("trainer"))
    assert {"default", "minimal", "none", "posthoc"} == set(options("callbacks"))


@pytest.mark.parametrize("name", options("experiment"))
def test_experiments_compose_and_build(name, tmp_path):
    config = composed(tmp_path, f"experiment={name}", *given(name))
    whole = plain(config)
    assert whole["task_name"] == name
    assert isinstance(build(config.model.module), DiffusionModule)
    for entry in [*config.callbacks.values(), *config.evaluation.values()]:
        assert isinstance(build(entry), Callback)
    assert isinstance(build(config.data.datamodule), ToyDataModule if config.data.root is None else ShardsDataModule)
    header = (config_folder() / "experiment" / f"{name}.yaml").read_text().splitlines()
    assert header[0] == "# @package _global_"
    assert any(line.startswith(f"# Command: diffusion-lit train experiment={name}") for line in header)


TOYS = {"checkerboard", "gaussian", "grid", "levy", "lorenz63", "moons", "ring"}


@pytest.mark.parametrize("name", sorted(TOYS))
def test_toys_compose_build_and_fit_the_network(name, tmp_path):
    config = composed(tmp_path, f"data={name}", "model=mlp")
    data, module = build_data(config), build(config.model.module)
    assert isinstance(data, ToyDataModule)
    x = next(iter(data.train_dataloader()))["image"]
    assert x.shape == (config.batch_size, *config.data.shape)
    assert module.denoiser(x, torch.tensor(0.5)).mean.shape == x.shape


@pytest.mark.parametrize("part", ["schedule", "preconditioning", "objective"])
def test_every_part_of_a_model_goes_with_the_others(part, tmp_path):
    for name in options(f"model/{part}"):
        twice = ["+model.denoiser.network.outputs=4", *VARIANCE] if name in ("hybrid", "vlb_learned") else []
        config = composed(tmp_path, "data=ring", "model=mlp", f"model/{part}={name}", *twice)
        module = build(config.model.module)
        positions = torch.arange(4)
        losses = module.objective(module.denoiser, torch.randn(4, 2), seed=0, positions=positions)
        assert losses.shape == (4,), name
        assert losses.isfinite().all(), name


@pytest.mark.parametrize("name", sorted(set(options("data")) - TOYS))
def test_data_configs_compose_build_and_fit_the_network(name, tmp_path):
    # heights that attend depend on the size of the images: the experiments choose them
    config = composed(tmp_path, f"data={name}", *given(name), *SMALL, "model.denoiser.network.attention=[]")
    data = build(config.data.datamodule)
    assert (data.batch_size, data.lanes) == (config.batch_size, config.data.lanes)
    assert config.data.pack.shards >= config.data.lanes
    images = torch.zeros(2, *config.data.shape)
    assert build(config.model.module).denoiser(images, torch.tensor(0.5)).mean.shape == images.shape


@pytest.mark.parametrize("name", sorted(TO_GIVE))
def test_a_path_that_must_be_given_is_asked_for(name):
    with pytest.raises(UserError, match=rf"data\.pack\.{TO_GIVE[name][0]}"):
        run_config([f"data={name}"])


@pytest.mark.parametrize("name", options("model"))
def test_models_build(name, tmp_path):
    config = composed(tmp_path, f"model={name}", "data=ring" if name == "mlp" else "data=mnist5k")
    module = build(config.model.module)
    assert isinstance(module, DiffusionModule)
    assert module.learning_rate(config.max_images) == pytest.approx(0.01)


@pytest.mark.parametrize("name", options("callbacks"))
def test_callbacks_build(name, tmp_path):
    callbacks = {k: build(v) for k, v in composed(tmp_path, f"callbacks={name}").callbacks.items()}
    assert all(isinstance(callback, Callback) for callback in callbacks.values())
    assert {"stop", "checkpoint"} <= set(callbacks)
    keys = [callback.state_key for callback in callbacks.values()]
    assert len(set(keys)) == len(keys), "Lightning would mix up the states of two callbacks"


@pytest.mark.parametrize("name", options("evaluation"))
def test_evaluations_build(name, tmp_path):
    entries = composed(tmp_path, f"evaluation={name}").evaluation
    assert entries
    assert all(isinstance(build(entry), Periodic) for entry in entries.values())


@pytest.mark.parametrize("name", options("hparams_search"))
def test_searches_spread(name):
    common, elements = spread(["experiment=mnist", f"hparams_search={name}"])
    assert len(elements) > 1
    assert len({run_config([*common, *element]).run_identity for element in elements[:2]}) == 2


@pytest.mark.parametrize("callbacks", options("callbacks"))
@pytest.mark.parametrize("evaluation", options("evaluation"))
def test_every_evaluation_goes_with_every_callbacks(callbacks, evaluation, tmp_path):
    config = composed(tmp_path, f"callbacks={callbacks}", f"evaluation={evaluation}")
    assert all(isinstance(build(entry), Periodic) for entry in config.evaluation.values())
    if "restoration" in config.evaluation:
        assert (len(config.evaluation.restoration.evaluator.operators) > 0) == (callbacks == "default")


@pytest.mark.parametrize("name", options("trainer"))
def test_trainers(name, tmp_path):
    config = composed(tmp_path, f"trainer={name}")
    known = inspect.signature(Trainer).parameters
    assert set(config.trainer) - {"_target_"} <= set(known)
    if name in {"cpu", "ddp_sim"}:
        trainer = build_trainer(config, {}, max_steps=1)
        assert trainer.world_size == (2 if name == "ddp_sim" else 1)
        assert trainer.max_steps == 1


@pytest.mark.parametrize("name", options("debug"))
@pytest.mark.parametrize("experiment", ["demo", "photos"])
def test_debug_runs_are_small_and_stand_apart(name, experiment, tmp_path):
    config = run_config([f"experiment={experiment}", f"debug={name}", f"paths.runs={tmp_path}"])
    assert config.max_images <= 25_600
    assert Path(config.paths.run).name.startswith("debug")
    assert isinstance(build_trainer(config, {}, max_steps=1), Trainer)
    assert isinstance(build(config.data.datamodule), OneBatchDataModule if name == "overfit" else ShardsDataModule)


def test_the_folder_is_a_function_of_what_changes_the_result(tmp_path):
    first = run_config(["seed=0"]).paths.run
    assert run_config(["seed=0", "data.num_workers=2", "trainer=ddp_sim", "resume=auto"]).paths.run == first
    assert run_config(["seed=1"]).paths.run != first


@pytest.mark.parametrize(
    ("overrides", "names"),
    [
        (["experiment=dmeo"], ["experiment/dmeo", "demo"]),
        (["modle=unet"], ["modle"]),
        (["max_imags=3"], ["max_imags"]),
        (["model.denoiser.network.widht=3"], ["widht"]),
        (
            [
                "seed=[",
            ],
            ["seed=["],
        ),
        (["seed"], ["seed"]),
    ],
)
def test_unknown_names_get_one_paragraph_that_names_them(overrides, names):
    with pytest.raises(UserError) as caught:
        run_config(overrides)
    message = str(caught.value)
    assert "\n" not in message
    assert "Traceback" not in message
    assert all(name in message for name in names)


def test_an_argument_that_the_network_does_not_have_is_named(tmp_path):
    config = composed(tmp_path, "+model.denoiser.network.colour=3")
    with pytest.raises(UserError, match="colour") as caught:
        build(config.model.module)
    assert "\n" not in str(caught.value)


def test_override_changes_stored_configurations():
    config = compose_config("train", [])
    override(config, ["seed=3", "resume=auto", "+trainer.fast_dev_run=true", "model.optimizer.betas=[0.5,0.6]"])
    assert (config.seed, config.resume, config.trainer.fast_dev_run) == (3, "auto", True)
    assert list(config.model.optimizer.betas) == [0.5, 0.6]
    for bad in ["sead=3", "seed", "model.sed=1", "seed=[1"]:
        with pytest.raises(UserError, match=bad.split("=")[0]):
            override(config, [bad])


def test_arguments_have_the_types_of_their_defaults():
    values, rest = split_arguments(["n=3", "name=007", "operator.size=2"], {"n": 1, "name": "", "x": 0.5})
    assert values == {"n": 3, "name": "007", "x": 0.5}
    assert rest == ["operator.size=2"]
    for bad in ["n=many", "n", "n=[1", "n=null", "n=2.5"]:
        with pytest.raises(UserError, match="n"):
            split_arguments([bad], {"n": 1})
