"""Other people's checkpoints: one posterior mean whatever is predicted; a diffusers folder as diffusers reads it."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import diffusion_lit
from diffusion_lit.adapters import DiffusersFolder, FunctionDenoiser, load_diffusers
from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.denoise import Interpolated, expand
from diffusion_lit.errors import UserError
from diffusion_lit.noise import EDM, VE, VP, Cosine, DiscreteVP, Rectified
from diffusion_lit.reverse import step_variance
from diffusion_lit.samplers import DDIM
from diffusion_lit.samplers.ancestral import renoise
from diffusion_lit.samplers.grids import Strided

f64 = torch.float64


def gaussian(schedule) -> GaussianDenoiser:
    generator = torch.Generator().manual_seed(0)
    root = torch.randn(4, 4, dtype=f64, generator=generator)
    return GaussianDenoiser(torch.arange(4.0, dtype=f64), root @ root.mT + torch.eye(4, dtype=f64), schedule)


def predictions(exact: GaussianDenoiser, t):
    """What a network that knows the Gaussian would return."""
    alpha, sigma = exact.schedule(t.double())

    def v(x_t):
        a, s = expand(alpha, x_t), expand(sigma, x_t)
        return (a * exact.eps(x_t, t) - s * exact(x_t, t).mean) / (a**2 + s**2).sqrt()

    return {
        "eps": lambda x_t: exact.eps(x_t, t),
        "x0": lambda x_t: exact(x_t, t).mean,
        "v": v,
        "score": lambda x_t: exact.score(x_t, t),
    }


@pytest.mark.parametrize("schedule", [VP(), VE(), EDM(), Rectified(), Cosine(), DiscreteVP.linear(100)])
@pytest.mark.parametrize("predicts", ["eps", "x0", "v", "score"])
def test_every_prediction_of_a_gaussian_gives_its_posterior_mean(schedule, predicts):
    exact = gaussian(schedule)
    x_t = 3 * torch.randn(5, 4, dtype=f64, generator=torch.Generator().manual_seed(1))
    for t in (torch.tensor(0.1, dtype=f64), torch.linspace(0.2, 0.9, 5, dtype=f64)):
        f = predictions(exact, t)[predicts]
        denoiser = FunctionDenoiser(lambda x, time, f=f: f(x), predicts, schedule)
        torch.testing.assert_close(denoiser(x_t, t).mean, exact(x_t, t).mean, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "schedule", "told"),
    [
        ("t", VP(), [0.5, 1.0]),
        ("step", DiscreteVP.linear(10), [4.0, 9.0]),
        ("index", DiscreteVP.linear(10), [4, 9]),
        ("sigma", VE(0.01, 100.0), [1.0, 100.0]),
        ("sigma", Rectified(alpha_min=0.1), [0.5 / 0.55, 10.0]),
        ("log_snr", VE(0.01, 100.0), [0.0, -2 * np.log(100.0)]),
        (lambda t: 999 * t, VP(), [499.5, 999.0]),
    ],
)
def test_times_are_told_as_the_network_takes_them(name, schedule, told):
    heard = []

    def f(x, time):
        heard.append(time)
        return x

    denoiser = FunctionDenoiser(f, "x0", schedule, time=name)
    denoiser(torch.zeros(2, 3), torch.tensor([0.5, 1.0]))
    denoiser(torch.zeros(2, 3), torch.tensor(1.0))
    assert heard[0].dtype == (torch.int64 if name == "index" else torch.float32)
    torch.testing.assert_close(heard[0], torch.tensor(told, dtype=heard[0].dtype), rtol=1e-5, atol=1e-5)
    assert heard[1].tolist() == [heard[0][1].item()] * 2  # one time for all is told to each


def test_between_the_steps_of_a_chain_the_time_is_a_fraction_or_the_nearest_step():
    heard = {}
    for name in ("step", "index"):

        def f(x, time, name=name):
            heard[name] = time.tolist()
            return x

        FunctionDenoiser(f, "x0", DiscreteVP.linear(10), time=name)(torch.zeros(2, 1), torch.tensor([0.03, 0.56]))
    assert heard["step"] == pytest.approx([0.0, 4.6], abs=1e-5)
    assert heard["index"] == [0, 5]


def test_a_learned_variance_is_read_from_the_other_half_of_the_channels():
    schedule, t = DiscreteVP.linear(50), torch.tensor([0.3, 0.8])
    x_t = torch.randn(2, 3, 4, 4, dtype=f64, generator=torch.Generator().manual_seed(0))

    def f(x, time):  # eps = 0, v = 1: the variance of the forward step
        return torch.cat((torch.zeros_like(x), torch.ones_like(x)), dim=1)

    found = FunctionDenoiser(f, "eps", schedule, variance=Interpolated(50))(x_t, t)
    alpha, _ = schedule(t.double())
    torch.testing.assert_close(found.mean, x_t / alpha[:, None, None, None])
    s = t - 1 / 50
    (a_t, s_t), (a_s, s_s) = schedule(t.double()), schedule(s.double())
    beta = s_t**2 - (a_t / a_s * s_s) ** 2
    reverse = step_variance(schedule, found.variance, t.double(), s.double())
    torch.testing.assert_close(reverse, beta[:, None, None, None].expand_as(reverse), rtol=1e-5, atol=0)
    with pytest.raises(UserError, match=r"\(2, 6, 4, 4\).*variance=Interpolated"):
        FunctionDenoiser(f, "eps", schedule)(x_t, t)


def test_a_module_says_where_and_in_which_dtype_samples_are_made():
    net = nn.Linear(3, 3).double()

    def f(x, time):
        return net(x)

    assert FunctionDenoiser(f, "x0", VP()).reference.dtype == torch.float32
    assert FunctionDenoiser(f, "x0", VP(), network=net).reference.dtype == f64
    module = FunctionDenoiser(nn.Bilinear(3, 1, 3).double(), "x0", VP())
    assert module.reference.dtype == f64
    assert DDIM(steps=2)(FunctionDenoiser(f, "x0", VP(), network=net), (2, 3), seed=0).dtype == f64


def test_a_condition_reaches_the_function():
    denoiser = FunctionDenoiser(lambda x, time, label: x + label[:, None], "x0", VP())
    mean = denoiser(torch.zeros(2, 1), torch.tensor(0.5), label=torch.tensor([1, 2])).mean
    assert mean.flatten().tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"predicts": "noise"}, "'noise' is none of eps"),
        ({"time": "seconds"}, "'seconds' is none of t, step"),
        ({"time": "step"}, "VP schedule has no steps"),
    ],
)
def test_what_is_not_known_is_refused(arguments, told):
    with pytest.raises(UserError, match=told):
        FunctionDenoiser(**{"f": lambda x, time: x, "predicts": "x0", "schedule": VP()} | arguments)


@pytest.mark.parametrize(("returned", "told"), [(torch.zeros(2, 5), r"\(2, 5\)"), ({"sample": 1}, "a dict")])
def test_another_output_is_refused(returned, told):
    denoiser = FunctionDenoiser(lambda x, time: returned, "x0", VP())
    with pytest.raises(UserError, match=told):
        denoiser(torch.zeros(2, 3), torch.tensor(0.5))


# -- diffusers ---------------------------------------------------------------------------------------------------------

BETAS = {
    "linear": {"beta_start": 1e-3, "beta_end": 0.1},
    "scaled_linear": {"beta_start": 1e-3, "beta_end": 0.1},
    "squaredcos_cap_v2": {},
}
PREDICTIONS = ["epsilon", "sample", "v_prediction"]


def write_folder(folder: Path, scheduler: dict, **network) -> Path:
    """A pipeline's folder with a small network of random weights."""
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    layout = {
        "sample_size": 8,
        "in_channels": 1,
        "out_channels": 1,
        "block_out_channels": (8, 16),
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 8,
    }
    unet = diffusers.UNet2DModel(**layout | network)
    unet.save_pretrained(folder / "unet", safe_serialization=True)
    diffusers.DDPMScheduler(num_train_timesteps=100, **scheduler).save_pretrained(folder / "scheduler")
    return folder


def theirs(folder: Path, kind: str, **changes):
    """The network and a scheduler as diffusers reads them."""
    import diffusers

    unet = diffusers.UNet2DModel.from_pretrained(folder / "unet", low_cpu_mem_usage=False).eval()
    return unet, getattr(diffusers, kind).from_pretrained(folder / "scheduler", **changes)


def theirs_and_ours(folder: Path, kind: str, **changes):
    """Both in float64, their table of alphas too, whose differences of float32 are three digits short."""
    unet, scheduler = theirs(folder, kind, **changes)
    scheduler.alphas_cumprod = (1 - scheduler.betas.double()).cumprod(0)
    x = torch.randn(2, 1, 8, 8, dtype=f64, generator=torch.Generator().manual_seed(1))
    return unet.double(), scheduler, load_diffusers(folder).double(), x


@pytest.mark.parametrize("betas", BETAS)
@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_ddim_of_a_diffusers_folder_is_theirs_step_by_step(tmp_path, betas, prediction):
    folder = write_folder(tmp_path, {"beta_schedule": betas, "prediction_type": prediction, **BETAS[betas]})
    changes = {"clip_sample": False, "timestep_spacing": "leading"}
    unet, scheduler, denoiser, x = theirs_and_ours(folder, "DDIMScheduler", **changes)
    scheduler.set_timesteps(10)
    assert scheduler.timesteps.tolist() == list(range(90, -1, -10))
    sampler = DDIM(steps=10, grid=Strided(100))
    times = sampler.grid(denoiser.schedule, 10)
    with torch.no_grad():
        ours = x
        for step, (t, s) in zip(scheduler.timesteps, pairwise(times)):
            output = unet(x, step).sample
            stepped = scheduler.step(output, step, x, eta=0.0)
            torch.testing.assert_close(denoiser(x, t).mean, stepped.pred_original_sample, rtol=1e-6, atol=1e-6)
            if prediction == "epsilon":
                torch.testing.assert_close(denoiser.eps(x, t), output, rtol=0, atol=1e-6)
            ours, _ = renoise(denoiser.schedule, denoiser(ours, t).mean, ours, t, s, eta=0.0)
            x = stepped.prev_sample
            torch.testing.assert_close(ours, x, rtol=1e-5, atol=1e-5)


def test_ddpm_of_a_diffusers_folder_has_their_mean_and_variance(tmp_path):
    folder = write_folder(tmp_path, {"beta_schedule": "linear", "clip_sample": False, "variance_type": "fixed_small"})
    unet, scheduler, denoiser, x = theirs_and_ours(folder, "DDPMScheduler")
    with torch.no_grad():
        for step in (99, 50, 1):
            t, s = (torch.tensor(i / 100, dtype=f64) for i in (step + 1, step))
            mean, variance = renoise(denoiser.schedule, denoiser(x, t).mean, x, t, s, eta=1.0)
            first, second = (
                scheduler.step(unet(x, step).sample, step, x, generator=torch.Generator().manual_seed(i)).prev_sample
                for i in range(2)
            )
            z, w = (torch.randn(x.shape, dtype=f64, generator=torch.Generator().manual_seed(i)) for i in range(2))
            torch.testing.assert_close(mean + variance.sqrt() * z, first, rtol=1e-6, atol=1e-6)
            torch.testing.assert_close(variance.sqrt() * (z - w), first - second, rtol=1e-6, atol=1e-6)


def test_a_learned_range_is_their_variance(tmp_path):
    scheduler = {"beta_schedule": "squaredcos_cap_v2", "variance_type": "learned_range", "clip_sample": False}
    folder = write_folder(tmp_path, scheduler, out_channels=2)
    unet, ddpm, denoiser, x = theirs_and_ours(folder, "DDPMScheduler")
    with torch.no_grad():
        for step in (80, 20):
            t, s = (torch.tensor(i / 100, dtype=f64) for i in (step + 1, step))
            found = denoiser(x, t)
            fraction = unet(x, step).sample.chunk(2, dim=1)[1]
            log_variance = ddpm._get_variance(step, predicted_variance=fraction)
            ours = step_variance(denoiser.schedule, found.variance, t, s)
            torch.testing.assert_close(ours, log_variance.exp(), rtol=2e-3, atol=0)


def test_labels_and_learned_times_reach_the_network(tmp_path):
    folder = write_folder(tmp_path, {}, num_class_embeds=3, time_embedding_type="learned", num_train_timesteps=100)
    unet, _ = theirs(folder, "DDPMScheduler")
    denoiser, x, label = load_diffusers(folder), torch.ones(2, 1, 8, 8), torch.tensor([0, 2])
    with torch.no_grad():
        eps = denoiser.eps(x, torch.tensor(0.4), label=label)
        torch.testing.assert_close(eps, unet(x, 39, class_labels=label).sample, rtol=0, atol=1e-5)


def test_load_takes_a_diffusers_folder(tmp_path):
    folder = write_folder(tmp_path, {})
    loaded = diffusion_lit.load(folder)
    assert not loaded.training
    assert DiffusersFolder.read(folder).shape == (1, 8, 8)
    x = torch.zeros(1, 1, 8, 8)
    torch.testing.assert_close(loaded(x, torch.tensor(0.5)).mean, load_diffusers(folder)(x, torch.tensor(0.5)).mean)
    with pytest.raises(UserError, match="no averages"):
        diffusion_lit.load(folder, ema=0.05)


def edit(path: Path, **changes) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("file", "changes", "told"),
    [
        (
            "scheduler/scheduler_config.json",
            {"beta_schedule": "sigmoid"},
            "beta_schedule of DDPMScheduler is 'sigmoid'",
        ),
        ("scheduler/scheduler_config.json", {"prediction_type": "flow"}, "prediction_type is 'flow'"),
        ("scheduler/scheduler_config.json", {"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
        ("unet/config.json", {"_class_name": "UNet2DConditionModel"}, "UNet2DConditionModel"),
        ("unet/config.json", {"out_channels": 2}, "variance_type is 'fixed_small'"),
        ("unet/config.json", {"block_out_channels": [8, 8]}, "does not load"),
    ],
)
def test_what_is_not_read_is_named(tmp_path, file, changes, told):
    folder = write_folder(tmp_path, {})
    edit(folder / file, **changes)
    with pytest.raises(UserError, match=told):
        load_diffusers(folder)


def test_missing_files_are_named(tmp_path):
    folder = write_folder(tmp_path, {})
    for weights in (folder / "unet").glob("*.safetensors"):
        weights.unlink()
    with pytest.raises(UserError, match="safetensors"):
        load_diffusers(folder)
    (folder / "scheduler" / "scheduler_config.json").unlink()
    with pytest.raises(UserError, match=r"scheduler_config\.json"):
        load_diffusers(folder)
    with pytest.raises(UserError, match=r"config\.json"):
        load_diffusers(tmp_path / "nowhere")


def test_betas_of_ones_own_are_taken(tmp_path):
    folder = write_folder(tmp_path, {"trained_betas": [0.01 * (i + 1) for i in range(10)]})
    assert DiffusersFolder.read(folder).schedule.steps == 10
