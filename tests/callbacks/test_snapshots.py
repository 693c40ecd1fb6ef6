"""Snapshots of the averages, and averages of other widths from them."""

import pytest
import torch
from lightning.pytorch import Callback

from diffusion_lit.callbacks import EMA, Snapshots
from diffusion_lit.callbacks.snapshots import read_snapshots, synthesize
from diffusion_lit.errors import UserError
from diffusion_lit.profiles import exponent
from tests.callbacks.stage import LIGHTNING, fit, make_module
from tests.callbacks.test_ema import History

pytestmark = pytest.mark.filterwarnings(*LIGHTNING)
STEPS, EVERY = 24, 2


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    """A run that keeps snapshots of two widths and tracks a third one beside them."""
    folder = tmp_path_factory.mktemp("snapshots")
    module, history, apart = make_module(), History(), EMA([0.07, 0.13])
    ema, snapshots = EMA([0.05, 0.1]), Snapshots(str(folder / "snapshots"), EVERY * module.batch_size)
    fit(folder, root, module, [ema, history, snapshots, apart], STEPS)
    return folder / "snapshots", ema, history, apart


def test_snapshots_hold_the_averages_of_their_moment(trained):
    folder, ema, history, _ = trained
    found = read_snapshots(folder)
    assert [s.step for s in found] == list(range(EVERY, STEPS + 1, EVERY))
    assert [s.images_seen for s in found] == [16 * s.step for s in found]
    assert not [f for f in folder.iterdir() if f.name.endswith(".part")]
    for width, average in ema.averages.items():
        assert all(torch.equal(found[-1].averages[width][k], v) for k, v in average.items())
        k = torch.arange(found[3].step + 1, dtype=torch.float64) / found[3].step
        shares = k.pow(exponent(width) + 1).diff().float()
        for name, value in found[3].averages[width].items():
            brute = sum(s * w[name] for s, w in zip(shares, history.weights))
            torch.testing.assert_close(value, brute, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("width", [0.07, 0.13])
def test_a_width_that_was_tracked_apart_is_found_from_the_others(trained, width):
    folder, ema, history, apart = trained
    average, made = synthesize(read_snapshots(folder), width)
    gamma = exponent(width)
    norm = (gamma + 1) / (2 * gamma + 1) ** 0.5  # of the profile on [0, 1]
    for name, value in average.items():
        # Cauchy and Schwarz: |found - tracked| <= error |profile| |weights over time|; 1e-6 for float32 averages,
        # times the sum of the coefficients' sizes
        path = torch.stack([w[name] for w in history.weights]).double().square().mean(0).sqrt()
        rounding = 1e-6 * float(made.coefficients.abs().sum())
        off = (value - apart.averages[width][name]).double().abs()
        assert (off <= made.error * norm * path + rounding * (1 + path)).all(), name

    def away(one: dict[str, torch.Tensor]) -> float:
        return sum(float((one[k] - v).square().sum()) for k, v in apart.averages[width].items()) ** 0.5

    # and of use: much nearer than any that was kept
    assert away(average) < 0.3 * min(away(ema.averages[0.05]), away(ema.averages[0.1]))


def test_a_width_that_was_kept_comes_back(trained):
    folder, ema, _, _ = trained
    average, made = synthesize(read_snapshots(folder), 0.1)
    assert made.error < 1e-6
    for name, value in ema.averages[0.1].items():
        torch.testing.assert_close(average[name], value, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("order", [[], [EMA([0.05])]])
def test_averages_are_needed_before_the_snapshots(root, tmp_path, order: list[Callback]):
    with pytest.raises(UserError, match=r"callbacks\.ema"):
        fit(tmp_path, root, make_module(), [*order, Snapshots(str(tmp_path), 16), EMA([0.05, 0.1])], 1)


def test_missing_and_damaged_snapshots_are_named(trained, tmp_path):
    with pytest.raises(UserError, match="callbacks=posthoc"):
        read_snapshots(tmp_path)
    first = sorted(trained[0].iterdir())[0]
    (tmp_path / first.name).write_bytes(first.read_bytes()[:1000])
    with pytest.raises(UserError, match=f"{first.name}: is damaged"):
        read_snapshots(tmp_path)
