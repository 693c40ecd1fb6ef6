"""Samples by annealed Langevin dynamics and by consistent annealed sampling, as many calls of the network for both."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

import diffusion_lit
from diffusion_lit.commands.build import build_data_of, build_reference
from diffusion_lit.data.toy import ToyDataModule
from diffusion_lit.denoise import NCSN, Denoiser, NetworkDenoiser, Posterior
from diffusion_lit.metrics.sliced import sliced_wasserstein
from diffusion_lit.noise import Schedule
from diffusion_lit.objectives.ncsn import largest_distance, step_size
from diffusion_lit.randomness import Randomness
from diffusion_lit.reproduction import Results
from diffusion_lit.samplers import Annealed, AnnealedLangevin, ConsistentAnnealed
from diffusion_lit.toys import ring
from diffusion_lit.tracking.record import RunRecord


def measure(
    seed: int, *, run: Path, calls: int, share: float | None, ema: float, n: int, sweep: Sequence[float]
) -> dict[str, float]:
    """Distances of n samples to the data, all named DATA/NAME: sliced W2 on the ring, Frechet distance on digits.

    `ald`, `cas`: either sampler at the same calls and step share epsilon / sigma_min^2 (None: technique 4's);
    `one`: ALD, all chains started at one datum and the noise of sigma_max, the question of technique 1; `ald@S`,
    `cas@S`: at the shares of `sweep`; `floor`: of held-out data. On the ring `least_...` is the least share of a mode,
    and `..._exact` has the best network there can be. `reach`, `gamma`, `share`: of the ladder; `left`: see `_left`.
    """
    data, denoiser = build_data_of(run), diffusion_lit.load(run, ema=ema)
    levels = int(RunRecord(run).config["model"]["objective"]["times"]["levels"])
    low, high = (denoiser.schedule(torch.tensor(t, dtype=torch.float64))[1].item() for t in (1e-12, 1.0))
    inner = round(calls / levels)
    share = step_size(low, high, levels, inner) / low**2 if share is None else share
    toy = isinstance(data, ToyDataModule)
    distance, floor = _to_points(data, n) if toy else _to_images(run)

    def ald(denoiser: Denoiser, share: float, start: Tensor | None = None) -> Tensor:
        sampler = AnnealedLangevin(levels, inner, Annealed(share * low**2))
        if start is None:
            return sampler(denoiser, (n, *data.shape), seed=seed)
        noise = Randomness(seed, torch.arange(n))
        x = start + high * noise.normal(*data.shape, dtype=start.dtype)
        return sampler.integrate(denoiser, x, sampler.grid(denoiser.schedule, levels), noise)

    def cas(denoiser: Denoiser, share: float) -> Tensor:
        return ConsistentAnnealed(levels * inner + 1, share)(denoiser, (n, *data.shape), seed=seed)

    samples = {"ald": ald(denoiser, share), "cas": cas(denoiser, share)}
    samples["one"] = ald(denoiser, share, data.images("train")[0])
    found = {}
    if toy:
        found = {f"least_{name}": _least(x) for name, x in samples.items()}
        assert isinstance(denoiser, NetworkDenoiser)
        schedule, blind = denoiser.schedule, denoiser.preconditioning is NCSN
        exact = _Blind(schedule, levels) if blind else ring().exact(schedule)
        samples |= {"ald_exact": ald(exact, share), "cas_exact": cas(exact, share)}
    for at in sweep:
        samples |= {f"ald@{at:g}": ald(denoiser, at), f"cas@{at:g}": cas(denoiser, at)}
    found |= {name: distance(x) for name, x in samples.items()} | {"floor": floor}
    gamma = (high / low) ** (1 / (levels - 1))
    found |= {"reach": high / largest_distance(data.images("train")), "gamma": gamma, "share": share}
    found |= {f"left_{name}": _left(gamma, levels, inner, share, name) for name in ("told", "blind")}
    return {f"{'ring' if toy else 'digits'}/{name}": value for name, value in found.items()}


class _Blind(Denoiser):
    """Of the ring, the best denoiser that is not told the noise level: E[eps | x], all levels being equally likely."""

    def __init__(self, schedule: Schedule, levels: int):
        super().__init__(schedule)
        times = torch.linspace(0, 1, levels, dtype=torch.float64).clamp_min(1e-12)
        self.means, self.sigma = ring().means, schedule(times)[1]
        self.variance = ring().std ** 2 + self.sigma**2

    @property
    def reference(self) -> Tensor:
        return self.means

    def forward(self, x_t: Tensor, t: Tensor, **condition) -> Posterior:
        gap = x_t[:, None] - self.means  # batch, mode, 2
        logits = -gap.square().sum(-1, keepdim=True) / (2 * self.variance) - self.variance.log()  # batch, mode, level
        weights = logits.flatten(1).softmax(1).view_as(logits) * self.sigma / self.variance
        return Posterior(x_t - self.schedule(t)[1] * torch.einsum("bml,bmd->bd", weights, gap))


def _left(gamma: float, levels: int, inner: int, share: float, kind: str) -> float:
    """The noise that ALD leaves, over sigma_min, if the data are one point of many dimensions.

    A network that is told the level has the score -(x - x_0) / sigma^2, as in technique 4's formula. One that is not
    has -eps(x) / sigma, and eps is of length sqrt(D) however much noise there is: it pulls less at what is too noisy.
    """
    r = 1 / gamma
    for _ in range(levels):
        r *= gamma
        for _ in range(inner):
            kept = (1 - share) * r if kind == "told" else r - share
            r = math.sqrt(kept**2 + 2 * share)
    return r


def _to_points(data: ToyDataModule, n: int) -> tuple[Callable[[Tensor], float], float]:
    test, others = (data.held_out(split, n)["image"] for split in ("test", "validation"))
    return (lambda x: sliced_wasserstein(x, test)), sliced_wasserstein(others, test)


def _to_images(run: Path) -> tuple[Callable[[Tensor], float], float]:
    held_out = torch.cat([build_data_of(run).images(split) for split in ("validation", "test")])
    return build_reference(run).frechet, build_reference(run).frechet(held_out)


def _least(x: Tensor) -> float:
    return torch.cdist(x.double(), ring().means).argmin(1).bincount(minlength=8).min().item() / len(x)


def figure(results: Results, path: Path) -> None:
    """Draw the distance against the step share, of the network with all techniques, and technique 4's choice."""
    import matplotlib.pyplot as plt

    picture, panels = plt.subplots(1, 2, figsize=(9, 3.5))
    for panel, (data, name) in zip(panels, {"ring": "sliced W2", "digits": "Frechet distance"}.items()):
        here = {"data": data, "technique": "all"}
        shares = [key.partition("@")[2] for key in results.at(**here)[0].metrics if key.startswith(f"{data}/ald@")]
        for sampler in ("ald", "cas"):
            values = [results.mean(f"{data}/{sampler}@{at}", **here) for at in shares]
            panel.plot([float(at) for at in shares], values, "o-", label=sampler.upper())
        panel.axvline(results.mean(f"{data}/share", **here), color="0.6", ls=":", label="technique 4")
        panel.axhline(results.mean(f"{data}/floor", **here), color="0.6", lw=0.8, label="held-out data")
        panel.set(xlabel=r"step share $\epsilon / \sigma_{min}^2$", ylabel=name, title=data, xscale="log", yscale="log")
        panel.minorticks_off()
        panel.set_xticks([float(at) for at in shares], shares)
    panels[0].legend()
    picture.savefig(path, bbox_inches="tight")
    plt.close(picture)
