"""Checkpoints: load in one call, refuse what does not fit, execute nothing."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

import diffusion_lit
from diffusion_lit import checkpoint
from diffusion_lit.denoise import NetworkDenoiser, Preconditioning
from diffusion_lit.errors import UserError
from diffusion_lit.networks.mlp import MLP
from diffusion_lit.noise import VP

MODEL = {
    "_target_": "diffusion_lit.denoise.NetworkDenoiser",
    "schedule": {"_target_": "diffusion_lit.noise.VP"},
    "preconditioning": {"_target_": "diffusion_lit.denoise.Preconditioning.edm", "sigma_data": 0.5},
    "network": {"_target_": "diffusion_lit.networks.mlp.MLP", "features": 3, "width": 8},
}


def denoiser(width: int = 8) -> NetworkDenoiser:
    torch.manual_seed(0)
    return NetworkDenoiser(MLP(features=3, width=width), VP(), Preconditioning.edm(0.5))


def content(**changes: Any) -> dict[str, Any]:
    state = {f"denoiser.{k}": v + 1 for k, v in denoiser().state_dict().items()}
    averages = {w: {k: v + w for k, v in denoiser().named_parameters()} for w in (0.05, 0.1)}
    averages = {w: {k: v.detach() for k, v in average.items()} for w, average in averages.items()}
    return {
        "state_dict": state,
        "ema": averages,
        "diffusion_lit": {"model": MODEL, "shape": [3], "images_seen": 64},
    } | changes


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    torch.save(content(), path)
    return path


def offset(loaded: torch.nn.Module) -> float:
    """What was added to the weights."""
    pairs = zip(loaded.parameters(), denoiser().parameters())
    [found] = {round(float((a - b).detach().mean()), 4) for a, b in pairs}
    return found


@pytest.mark.parametrize(("ema", "added"), [(None, 0.05), (0.0, 1.0), (0.05, 0.05), (0.1, 0.1)])
def test_load_takes_the_weights_that_are_asked_for(file, ema, added):
    for path in (file, str(file), file.parents[1]):
        loaded = diffusion_lit.load(path, ema=ema)
        assert offset(loaded) == added
        assert not loaded.training
    assert loaded(torch.zeros(2, 3), torch.tensor(0.5)).mean.shape == (2, 3)


def test_without_averages_load_takes_the_weights(file):
    torch.save(content(ema={}), file)
    assert offset(diffusion_lit.load(file)) == 1.0


@pytest.mark.parametrize(("ema", "told"), [(0.2, r"0\.2.*\[0, 0\.05, 0\.1\]"), (-1.0, r"-1\.0.*\[0, 0\.05, 0\.1\]")])
def test_an_average_that_was_not_kept_is_named(file, ema, told):
    with pytest.raises(UserError, match=told):
        diffusion_lit.load(file, ema=ema)


def test_another_architecture_is_refused_by_its_first_tensor(file):
    state = checkpoint.weights(checkpoint.read(file), 0.0, file)
    with pytest.raises(UserError, match=r"last\.ckpt.*network\..*\(\d+, ?\d*\) in the checkpoint, .* here"):
        checkpoint.put(state, denoiser(width=16), file)
    state.pop(next(iter(state)))
    own = denoiser()
    before = {k: v.clone() for k, v in own.state_dict().items()}
    with pytest.raises(UserError, match=r"missing in the checkpoint.*1 of"):
        checkpoint.put(state, own, file)
    assert all(torch.equal(v, before[k]) for k, v in own.state_dict().items())


@pytest.mark.parametrize("kept", [0, 1, 20, 0.5, 0.95])
def test_a_truncated_file_is_damaged_not_dangerous(file, kept):
    whole = file.read_bytes()
    file.write_bytes(whole[: int(kept * len(whole)) if isinstance(kept, float) else kept])
    with pytest.raises(UserError, match=r"last\.ckpt") as caught:
        diffusion_lit.load(file)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"weights": 1}, [1, 2], {"state_dict": {}}])
def test_what_is_no_checkpoint_is_refused(file, wrong):
    torch.save(wrong, file)
    with pytest.raises(UserError, match=r"last\.ckpt"):
        diffusion_lit.load(file)


def test_missing_files_are_named(tmp_path):
    for path in (tmp_path, tmp_path / "a.ckpt"):
        with pytest.raises(UserError, match="no such checkpoint"):
            diffusion_lit.load(path)


class _Program:
    """Unpickled, it would write a file."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("how", ["torch", "legacy", "pickle"])
def test_a_program_in_a_checkpoint_is_not_run(file, tmp_path, how):
    trap = tmp_path / "trap"
    bad = content(callbacks=_Program(trap))
    if how == "pickle":
        file.write_bytes(pickle.dumps(bad))
    else:
        torch.save(bad, file, _use_new_zipfile_serialization=how == "torch")
    with pytest.raises(UserError, match=r"not opened|damaged"):
        diffusion_lit.load(file)
    assert not trap.exists()


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.run",
        "torch.hub.load",
        "diffusion_lit.files.write_text",
        "diffusion_lit.data.pack",
        "diffusion_lit.networks.unet.torch.load",
        "diffusion_lit.denoise.nn.Linear",
        "diffusion_lit.tracking.record.os.system",
        "diffusion_lit.${oc.env:HOME}",
        "diffusion_lit.denoise",
        "diffusion_lit.denoise.Nothing",
        "hydra.utils.get_method",
        7,
    ],
)
@pytest.mark.parametrize("place", ["top", "nested", "listed"])
def test_only_our_denoisers_are_built(file, target, place):
    entry = {"_target_": target, "path": "x", "text": "y"}
    model = {"top": entry, "nested": MODEL | {"network": entry}, "listed": MODEL | {"network": [[entry]]}}[place]
    torch.save(content(diffusion_lit={"model": model}), file)
    with pytest.raises(UserError, match="not built"):
        diffusion_lit.load(file)


def test_arguments_of_another_version_are_named(file):
    torch.save(content(diffusion_lit={"model": MODEL | {"network": MODEL["network"] | {"colour": 3}}}), file)
    with pytest.raises(UserError, match="colour"):
        diffusion_lit.load(file)
