"""Noise costs quality at few steps; sigma-hat needs the whole chain."""

from collections.abc import Iterator

from scipy.stats import spearmanr

from diffusion_lit.reproduction import Claim, Results

STEPS = ("10", "20", "50", "100", "1000")


def claims(results: Results) -> Iterator[Claim]:
    table = "Song et al. 2021 (DDIM), table 1"

    def fd(eta: str, steps: str) -> float:
        return results.mean("fd", eta=eta, S=steps)

    yield Claim(
        "rank correlation of the cells with S <= 100 with the published ones",
        table,
        lambda: float(spearmanr([fd(e, s) for e in results.axes["eta"] for s in STEPS[:4]], PUBLISHED).statistic),
        at_least=0.8,
    )
    for steps in STEPS[:3]:
        yield Claim(
            f"S = {steps}: eta = 1 is worse than eta = 0", table, lambda s=steps: fd("1", s) / fd("0", s), at_least=1
        )
        yield Claim(
            f"S = {steps}: sigma-hat is worse than eta = 1",
            table,
            lambda s=steps: fd("sigma-hat", s) / fd("1", s),
            at_least=1,
        )
    yield Claim(
        "sigma-hat, S = 1000, is no worse than eta = 0, S = 1000",
        table,
        lambda: fd("sigma-hat", "1000") / fd("0", "1000"),
        at_most=1,
    )
    yield Claim(
        "eta = 0 with 50 steps is within half again of its 1000 steps",
        table,
        lambda: fd("0", "50") / fd("0", "1000"),
        at_most=1.5,
    )
    yield Claim(
        "inversion's error falls at first order at least: squared error from 20 to 100 steps",
        "Song et al. 2021 (DDIM), table 2; first order would be a factor of 25",
        lambda: results.mean("inversion", eta="0", S="20") / results.mean("inversion", eta="0", S="100"),
        at_least=5,
    )


#: table 1, CIFAR-10: rows eta = 0, .2, .5, 1, sigma-hat; columns S = 10, 20, 50, 100
PUBLISHED = [
    *(13.36, 6.84, 4.67, 4.16),
    *(14.04, 7.11, 4.77, 4.25),
    *(16.66, 8.35, 5.25, 4.46),
    *(41.07, 18.36, 8.01, 5.78),
    *(367.43, 133.37, 32.72, 9.99),
]
