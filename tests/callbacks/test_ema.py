"""Averages of the weights: the profile, several widths, in place only where told to."""

import pytest
import torch
from lightning.pytorch import Callback

from diffusion_lit.callbacks import EMA
from diffusion_lit.errors import UserError
from diffusion_lit.profiles import exponent
from tests.callbacks.stage import LIGHTNING, fit, make_module

pytestmark = pytest.mark.filterwarnings(*LIGHTNING)
STEPS = 12


class History(Callback):
    """The weights after every step."""

    def __init__(self) -> None:
        self.weights: list[dict[str, torch.Tensor]] = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.weights.append({k: v.detach().clone() for k, v in pl_module.denoiser.named_parameters()})


@pytest.mark.parametrize(("width", "gamma"), [(0.05, 16.97), (0.10, 6.94)])
def test_exponents_of_the_paper(width, gamma):
    assert exponent(width) == pytest.approx(gamma, abs=0.005)


@pytest.mark.parametrize("width", [0.01, 0.05, 0.1, 0.25])
def test_the_profile_has_the_width_that_is_asked_for(width):
    gamma = exponent(width)
    t = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    share = t**gamma / (t**gamma).sum()
    mean = (share * t).sum()
    assert float((share * (t - mean) ** 2).sum().sqrt()) == pytest.approx(width, rel=1e-3)


@pytest.mark.parametrize("width", [0.0, -0.1, 0.28, 0.5])
def test_impossible_widths_are_refused(width):
    with pytest.raises(UserError, match=str(width)):
        EMA([width])


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    module, ema, history = make_module(), EMA([0.05, 0.2]), History()
    fit(tmp_path_factory.mktemp("ema"), root, module, [ema, history], STEPS)
    return module, ema, history


def test_averages_are_the_weighted_means_of_all_steps(trained):
    _, ema, history = trained
    for width, average in ema.averages.items():
        gamma = exponent(width)
        # share of step k: what it got, (1 - beta_k), and what the later ones left of it
        betas = [(1 - 1 / k) ** (gamma + 1) for k in range(1, STEPS + 1)]
        shares = torch.tensor([(1 - b) * torch.tensor(betas[k + 1 :]).prod() for k, b in enumerate(betas)])
        # closed form: the power-function profile in steps, (k^(gamma + 1) - (k - 1)^(gamma + 1)) / K^(gamma + 1)
        ks = torch.arange(STEPS + 1, dtype=torch.float64) / STEPS
        torch.testing.assert_close(shares.double(), (ks ** (gamma + 1)).diff(), rtol=1e-5, atol=1e-7)
        for name, value in average.items():
            brute = sum(s * w[name] for s, w in zip(shares, history.weights))
            torch.testing.assert_close(value, brute, rtol=1e-5, atol=1e-6)


def test_widths_differ_and_the_narrow_one_is_nearer_to_the_end(trained):
    module, ema, _ = trained
    last = dict(module.denoiser.named_parameters())

    def away(width: float) -> float:
        return sum(float((last[k].detach() - v).square().sum()) for k, v in ema.averages[width].items())

    assert 0 < away(0.05) < away(0.2)


def test_use_puts_an_average_in_place_and_the_weights_back(trained):
    module, ema, _ = trained
    before = {k: v.detach().clone() for k, v in module.denoiser.named_parameters()}
    with ema.use(0.2, module):
        for name, weight in module.denoiser.named_parameters():
            assert torch.equal(weight, ema.averages[0.2][name])
    with pytest.raises(RuntimeError, match="inside"), ema.use(0.05, module):
        raise RuntimeError("inside")
    with ema.use(None, module):
        pass
    assert all(torch.equal(v, before[k]) for k, v in module.denoiser.named_parameters())
    with pytest.raises(UserError, match=r"0\.07"), ema.use(0.07, module):
        pass


def test_averages_survive_a_checkpoint_and_others_are_refused(trained):
    module, ema, _ = trained
    saved: dict = {}
    ema.on_save_checkpoint(module.trainer, module, saved)
    again = EMA([0.05, 0.2])
    again.on_load_checkpoint(module.trainer, module, saved)
    for width, average in ema.averages.items():
        assert all(torch.equal(v, again.averages[width][k]) for k, v in average.items())
    with pytest.raises(UserError, match=r"0\.1\b.*\[0\.05, 0\.2\]"):
        EMA([0.05, 0.1]).on_load_checkpoint(module.trainer, module, saved)


def test_accumulated_batches_count_once(root, tmp_path):
    module, ema, history = make_module(), EMA([0.1]), History()
    fit(tmp_path, root, module, [ema, history], 3, accumulate_grad_batches=2)
    assert len(history.weights) == 6
    shares = (torch.arange(4, dtype=torch.float64) / 3).pow(exponent(0.1) + 1).diff().float()
    name, value = next(iter(ema.averages[0.1].items()))
    torch.testing.assert_close(value, sum(s * w[name] for s, w in zip(shares, history.weights[1::2])))
