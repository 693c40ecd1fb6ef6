"""Posterior samples of Levy signals against a posterior that is known: in closed form, or by Gibbs sampling."""

import math
import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import diffusion_lit
from diffusion_lit import levy
from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.denoise import Denoiser
from diffusion_lit.inverse import GaussianNoise, Guidance, LinearOperator, Measurement, Method, methods
from diffusion_lit.metrics.coverage import hpd_coverage, interval_coverage
from diffusion_lit.noise import VP
from diffusion_lit.randomness import Randomness, beside
from diffusion_lit.reproduction import Results
from diffusion_lit.samplers import DDPM, LogSNR

#: The entries of a signal, and of its spectrum, that the paper's own code measures.
MASK = "1001001011001100011101000101010111010011001110011010010101101011"

#: A sampler ends with D at the smallest time and leaves out its sigma^2. VP()'s, .01^2, is 6 % of the posterior's
#: variance here, in each of 64 directions; that of this schedule, .003^2, is half a percent.
SCHEDULE = VP(beta_min=1e-3)


def matrix(name: str, length: int) -> Tensor:
    """The operators of the paper's code: circular convolution of 13 taps, 33 entries, 19 frequencies."""
    eye = torch.eye(length, dtype=torch.float64)
    if name == "identity":
        return eye
    if name == "convolution":
        taps = torch.arange(-6, 7)
        kernel = (-taps.double().square() / 8).exp()
        return sum(k / kernel.sum() * eye.roll(int(tap), 0) for tap, k in zip(taps, kernel))  # type: ignore[return-value]
    kept = torch.tensor([bit == "1" for bit in MASK[:length]])
    if name == "sampling":
        return eye[kept]
    spectrum = torch.fft.rfft(eye, dim=0, norm="ortho") * math.sqrt(2)
    spectrum[[0, -1]] /= math.sqrt(2)
    kept = kept[: length // 2 + 1].clone()
    kept[:5] = True
    inner = kept.clone()
    inner[[0, -1]] = False  # whose imaginary parts are 0
    return torch.cat((spectrum.real[kept], spectrum.imag[inner]))


class Problem(NamedTuple):
    """Test signals, their measurements and what is known of the posterior of each."""

    toy: levy.Levy
    matrix: Tensor  # (y_size, length), of signals
    sigma: float
    x: Tensor  # (B, length) signals
    y: Tensor  # (B, y_size)
    mean: Tensor  # (B, length) E[x | y]
    draws: Tensor  # (B, K, length) of p(x | y)


@cache
def problem(law: str, operator: str, seed: int, signals: int, draws: int, sweeps: int, length: int) -> Problem:
    """Simulate, and find the posterior means and draws; noise 25 dB below the median power of A x."""
    toy, ids = levy.Levy(getattr(levy, law)(), length), torch.arange(signals)
    a, x = matrix(operator, length), toy.draw(Randomness(seed, ids))
    power = (x @ a.mT).square().mean(1).median().item()
    sigma = math.sqrt(power / 10**2.5)
    y = x @ a.mT + sigma * Randomness(seed, beside(ids, 1)).normal(len(a), dtype=torch.float64)
    of_jumps = a @ toy.matrix
    if law == "gaussian":
        # u | y ~ N(G y, I - G H), which for all y has one root
        gain = torch.linalg.solve(of_jumps @ of_jumps.mT + sigma**2 * torch.eye(len(a)), of_jumps).mT
        values, vectors = torch.linalg.eigh(torch.eye(length, dtype=torch.float64) - gain @ of_jumps)
        root = vectors * values.clamp_min(0).sqrt()
        mean = y @ gain.mT
        z = Randomness(seed, beside(ids, 2)).normal(draws, length, dtype=torch.float64)
        u = mean[:, None] + z @ root.mT
    else:
        mean, u = levy.posterior_of_jumps(
            toy.law, of_jumps, y, sigma, sweeps=sweeps, burn_in=sweeps // 5, keep=draws, seed=seed
        )
    return Problem(toy, a, sigma, x, y, mean @ toy.matrix.mT, u @ toy.matrix.mT)


def denoiser_of(known: Problem, domain: str, law: str, run: Path | None) -> Denoiser:
    """Exact, of the jumps or of Gaussian signals, or else what the run has learned of signals."""
    if run is not None:
        return diffusion_lit.load(run)
    if domain == "jumps":
        return levy.JumpDenoiser(known.toy.law, known.toy.size, SCHEDULE)
    return GaussianDenoiser(torch.zeros(known.toy.size), known.toy.matrix @ known.toy.matrix.mT, SCHEDULE)


def build(method: str, steps: int, **options: Any) -> Method:
    """A method by its name; guidance walks a grid that is even in log-SNR, for many orders of it count here."""
    kind: Any = methods[method]
    if issubclass(kind, Guidance):
        return kind(sampler=DDPM(steps, v=0.5, grid=LogSNR()), **options)
    return kind(steps=steps, **options)


def measure(
    seed: int,
    *,
    law: str,
    domain: str,
    operator: str,
    method: str,
    signals: int,
    draws: int,
    sweeps: int,
    length: int = 64,
    options: dict | None = None,
    run: Path | None = None,
) -> dict[str, float]:
    """Of `draws` samples for each of `signals` measurements:

    `gap`: 10 log10 of the MSE of the samples' mean over what as many exact draws have, the MMSE and a K-th of the
    posterior's variance, in dB. `hpd`, `interval`: how often the truth is in their 90 % region of
    highest posterior density and, entry by entry, in their 90 % interval. `spread`: the samples' variance over the
    posterior's. `denoiser`: the gap of one call of the denoiser where y is x_t, the error of the network. `nfe`,
    `vjps`, `seconds` for all samples.
    """
    known = problem(law, operator, seed, signals, draws, sweeps, length)
    denoiser = denoiser_of(known, domain, law, run)
    back = known.toy.matrix if domain == "jumps" else torch.eye(length, dtype=torch.float64)
    measurement = Measurement(known.y, LinearOperator.from_matrix(known.matrix @ back), GaussianNoise(known.sigma))
    sampler, x, began = None, known.draws, time.perf_counter()
    if method != "exact":
        sampler = build(method, **(options or {}))
        x = sampler(denoiser, measurement, samples=draws, seed=seed).double() @ back.mT
    seconds = time.perf_counter() - began
    mmse = (known.mean - known.x).square().mean().item()
    variance = known.draws.var(1).mean().item()
    error = (x.mean(1) - known.x).square().mean().item()

    def log_density(x: Tensor) -> Tensor:
        misfit = (known.y.reshape(len(x), *[1] * (x.ndim - 2), -1) - x @ known.matrix.mT) / known.sigma
        return known.toy.log_prob(x) - misfit.square().sum(-1) / 2

    found = {
        "gap": 10 * math.log10(error / (mmse + variance / draws)),
        "hpd": hpd_coverage(log_density(x), log_density(known.x)).value,
        "interval": interval_coverage(x, known.x).value,
        "spread": x.var(1).mean().item() / variance,
        "nfe": sampler.nfe if sampler else 0,
        "vjps": sampler.vjps if sampler else 0,
        "seconds": seconds,
    }
    if operator == "identity" and domain == "signals":
        found["denoiser"] = 10 * math.log10(one_call(denoiser, known) / mmse)
    return found


def one_call(denoiser: Denoiser, known: Problem) -> float:
    """The MSE of D(alpha y, t) with sigma_t / alpha_t = sigma."""
    t = denoiser.schedule.time(torch.tensor(-2 * math.log(known.sigma), dtype=torch.float64))
    alpha = denoiser.schedule(t)[0]
    with torch.no_grad():
        mean = denoiser((alpha * known.y).to(denoiser.reference), t).mean.double()
    return (mean - known.x).square().mean().item()


def figure(results: Results, path: Path) -> None:
    """Draw coverage against the gap to the MMSE, a point for each operator."""
    import matplotlib.pyplot as plt

    picture, panels = plt.subplots(2, 3, figsize=(12, 6.5), layout="constrained", sharex=True, sharey=True)
    for panel, prior in zip(panels.flat, dict.fromkeys(entry.labels["prior"] for entry in results.entries)):
        for method in results.axes["method"]:
            gap, hpd = (results(key, prior=prior, method=method) for key in ("gap", "hpd"))
            panel.plot(gap.clip(max=20), hpd, "*" if method == "exact" else "o", label=method, alpha=0.7)
        panel.axhline(0.9, color="0.8", zorder=0)
        panel.set(title=prior)
    for panel in panels[:, 0]:
        panel.set(ylabel="coverage of the 90 % HPD region")
    for panel in panels[-1]:
        panel.set(xlabel="gap to the MMSE, dB; 20 is 20 or more")
    panels[0, 0].legend(fontsize=8)
    picture.savefig(path, bbox_inches="tight")
    plt.close(picture)
