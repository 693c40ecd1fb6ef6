import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.cost import counted
from diffusion_lit.denoise import (
    EPS,
    NCSN,
    SCORE,
    X0,
    Clipped,
    Interpolated,
    NetworkDenoiser,
    Preconditioning,
    V,
    expand,
)
from diffusion_lit.errors import UserError
from diffusion_lit.noise import EDM, VP

FORMS = {"eps": EPS, "x0": X0, "v": V, "score": SCORE, "ncsn": NCSN, "edm": Preconditioning.edm(0.7)}
every_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
names = st.sampled_from(sorted(FORMS))
signal = st.floats(0.01, 1.0)
noise = st.floats(0.01, 50.0)


class Affine(nn.Module):
    """A network whose output tells what it was given."""

    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: Tensor, noise_level: Tensor, shift: Tensor | None = None) -> Tensor:
        out = self.gain * x + expand(noise_level, x)
        return out if shift is None else out + shift


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def f64(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


@given(of=names, to=names, alpha=signal, sigma=noise, seed=st.integers(0, 1000))
def test_any_prediction_converts_to_any_other(of: str, to: str, alpha: float, sigma: float, seed: int):
    x_t, output, (a, s) = draw(2, 3, seed=seed), draw(2, 3, seed=seed + 1), (f64(alpha), f64(sigma))
    mean = FORMS[of].mean(output, x_t, a, s)
    there = FORMS[to].output(mean, x_t, a, s)
    scale = 1 + float(mean.abs().max()) + float(x_t.abs().max()) / alpha
    torch.testing.assert_close(FORMS[to].mean(there, x_t, a, s), mean, rtol=0, atol=1e-12 * scale)
    back = FORMS[of].output(FORMS[to].mean(there, x_t, a, s), x_t, a, s)
    size = scale / abs(FORMS[of].c_out(a, s).item())
    torch.testing.assert_close(back, output, rtol=0, atol=1e-12 * (size + 1))


def test_configurations_name_a_prediction():
    for name, form in FORMS.items():
        if name != "edm":  # it has a parameter
            assert Preconditioning.named(name) is form
    with pytest.raises(UserError, match="'flow' is none of eps, x0, v, score, ncsn"):
        Preconditioning.named("flow")


@given(alpha=signal, sigma=noise)
def test_the_training_targets_are_the_named_quantities(alpha: float, sigma: float):
    x_0, eps = draw(4, 2), draw(4, 2, seed=1)
    x_t = alpha * x_0 + sigma * eps
    targets = {
        "eps": eps,
        "x0": x_0,
        "v": (alpha * eps - sigma * x_0) / (alpha**2 + sigma**2) ** 0.5,
        "score": -eps / sigma,
    }
    for name, target in targets.items():
        output = FORMS[name].output(x_0, x_t, f64(alpha), f64(sigma))
        torch.testing.assert_close(output, target, rtol=1e-7, atol=1e-10 * (1 + 1 / sigma) ** 2)


@given(sigma=noise, sigma_data=st.floats(0.1, 2.0))
def test_edm_preconditioning_is_karras_table_1(sigma: float, sigma_data: float):
    form, one, s = Preconditioning.edm(sigma_data), f64(1.0), f64(sigma)
    total = sigma**2 + sigma_data**2
    assert form.c_skip(one, s).item() == pytest.approx(sigma_data**2 / total)
    assert form.c_out(one, s).item() == pytest.approx(sigma * sigma_data / total**0.5)
    assert form.c_in(one, s).item() == pytest.approx(total**-0.5)
    assert form.c_noise(one, s).item() == pytest.approx(s.log().item() / 4)


@given(alpha=signal, sigma=noise)
def test_edm_preconditioning_has_unit_variance_in_and_out(alpha: float, sigma: float):
    # variances by hand, for x_0 ~ N(0, .7^2): of c_in x_t, and of the target (x_0 - c_skip x_t) / c_out
    form, a, s = Preconditioning.edm(0.7), f64(alpha), f64(sigma)
    assert form.c_in(a, s).item() ** 2 * (alpha**2 * 0.49 + sigma**2) == pytest.approx(1)
    skip, out = form.c_skip(a, s).item(), form.c_out(a, s).item()
    assert ((1 - skip * alpha) ** 2 * 0.49 + skip**2 * sigma**2) / out**2 == pytest.approx(1)


@every_form
@pytest.mark.parametrize("batched", [False, True])
def test_score_noise_and_mean_are_one_thing(form: Preconditioning, batched: bool):
    denoiser = NetworkDenoiser(Affine().double(), VP(), form)
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64) if batched else f64(0.3)
    x_t = draw(3, 2, 4)
    alpha, sigma = (expand(c, x_t) for c in VP()(t))
    mean = denoiser(x_t, t).mean
    torch.testing.assert_close(alpha * mean + sigma * denoiser.eps(x_t, t), x_t, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(denoiser.score(x_t, t), -denoiser.eps(x_t, t) / sigma, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("name", "form"), [("eps", EPS), ("score", SCORE)])
def test_the_network_predicts_what_its_form_says(name: str, form: Preconditioning):
    denoiser = NetworkDenoiser(Affine().double(), VP(), form)
    x_t, t = draw(3, 2), f64(0.4)
    alpha, sigma = VP()(t)
    output = denoiser.network(x_t, ((sigma / alpha).log() / 4).expand(3))  # c_in = 1: variance preserving
    torch.testing.assert_close(getattr(denoiser, name)(x_t, t), output, rtol=1e-9, atol=1e-9)


@every_form
def test_times_in_float32_and_float64_agree(form: Preconditioning):
    denoiser = NetworkDenoiser(Affine(), VP(), form)
    x_t = draw(5, 3).float()
    # exact in both precisions, so that only the arithmetic behind them can differ
    t = torch.tensor([2.0**-9, 0.25, 0.5, 0.875, 1.0])
    wide = denoiser(x_t, t.double()).mean
    narrow = denoiser(x_t, t).mean
    assert narrow.dtype == wide.dtype == torch.float32
    torch.testing.assert_close(narrow, wide, rtol=0, atol=0)


def test_one_time_for_all_equals_one_for_each():
    denoiser = NetworkDenoiser(Affine(), EDM())
    x_t = draw(4, 1, 2, 2).float()
    torch.testing.assert_close(denoiser(x_t, f64(0.5)).mean, denoiser(x_t, torch.full((4,), 0.5)).mean, rtol=0, atol=0)


def test_a_condition_reaches_the_network():
    denoiser = NetworkDenoiser(Affine().double(), EDM(), X0)
    x_t, shift = draw(2, 3), draw(2, 3, seed=1)
    moved = denoiser(x_t, f64(0.5), shift=shift).mean - denoiser(x_t, f64(0.5)).mean
    torch.testing.assert_close(moved, shift, rtol=0, atol=1e-12)


def test_reference_is_what_samples_are_made_like():
    assert NetworkDenoiser(Affine().double(), EDM()).reference.dtype == torch.float64
    assert NetworkDenoiser(nn.Identity(), EDM()).reference.dtype == torch.get_default_dtype()
    assert GaussianDenoiser(torch.zeros(2), torch.tensor(1.0), VP()).reference.dtype == torch.float64


def test_the_cost_is_counted():
    denoiser = GaussianDenoiser(torch.zeros(2), torch.tensor(1.0), VP())
    x_t = draw(3, 2).requires_grad_()
    with counted(denoiser) as cost:
        denoiser(x_t.detach(), f64(0.5))
        denoiser.score(x_t.detach(), f64(0.5))
        assert (cost.forwards, cost.vjps) == (2, 0)
        mean = denoiser(x_t, f64(0.5)).mean
        torch.autograd.grad(mean.sum(), x_t, retain_graph=True)
        torch.autograd.grad(mean.square().sum(), x_t)
        assert (cost.forwards, cost.vjps) == (3, 2)
    denoiser(x_t, f64(0.5))
    assert (cost.forwards, cost.vjps) == (3, 2)


class Twice(nn.Module):
    """Of two outputs the first is half the input, the second what is asked for."""

    def __init__(self, second: float):
        super().__init__()
        self.second = second

    def forward(self, x: Tensor, noise_level: Tensor) -> Tensor:
        return torch.cat((x / 2, torch.full_like(x, self.second)), dim=1)


@pytest.mark.parametrize("event", [(3,), (2, 4, 4)])
def test_a_network_may_say_its_variance(event: tuple[int, ...]):
    x_t, t, form = draw(2, *event), torch.tensor([0.3, 0.8], dtype=torch.float64), Interpolated(100)
    found = NetworkDenoiser(Twice(0.5), VP(), EPS, form)(x_t, t)
    torch.testing.assert_close(found.mean, EPS.mean(x_t / 2, x_t, *VP()(t)))
    assert found.variance is not None
    torch.testing.assert_close(form.fraction(found.variance, VP(), t), torch.full_like(x_t, 0.75))
    small = NetworkDenoiser(Twice(0.5), VP(), EPS, form)(x_t.float(), t).variance
    torch.testing.assert_close(small, found.variance.float())


def test_clipped_keeps_the_mean_in_range_and_the_rest_as_it_is():
    inner = GaussianDenoiser(torch.zeros(3, dtype=torch.float64), torch.tensor(4.0, dtype=torch.float64), VP())
    clipped, x_t, t = Clipped(inner, -1.0, 0.5), 3 * draw(50, 3), f64(0.3)
    mean, variance = inner(x_t, t)
    assert mean.min() < -1
    assert mean.max() > 0.5
    assert torch.equal(clipped(x_t, t).mean, mean.clamp(-1.0, 0.5))
    assert variance is not None
    assert torch.equal(clipped(x_t, t).variance, variance)
    assert clipped.reference is inner.reference
