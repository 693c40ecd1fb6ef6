"""The likelihood's weighting is no worse in likelihood, and the bound is one."""

from collections.abc import Iterator

from diffusion_lit.reproduction import Claim, Results


def claims(results: Results) -> Iterator[Claim]:
    bars = "bars set before the first run; a plain implementation reached .0018, .067 and .050"
    yield Claim(
        "NLL with the likelihood's weighting, less that with L_simple",
        "Song et al. 2021 (ScoreFlow), table 2",
        lambda: results.mean("nll", objective="likelihood") - results.mean("nll", objective="L_simple"),
        at_most=0.02,
    )
    for objective in ("L_simple", "likelihood"):
        yield Claim(
            f"{objective}: the bound is above the NLL",
            "Song et al. 2021 (ScoreFlow), theorem 3",
            lambda o=objective: results.mean("bound", objective=o) - results.mean("nll", objective=o),
            at_least=0,
        )
        yield Claim(
            f"{objective}: NLL above that of the exact density, same points",
            bars,
            lambda o=objective: results.mean("nll", objective=o) - results.mean("exact", objective=o),
            at_most=0.15,
        )
    simple = {"objective": "L_simple"}
    yield Claim(
        "L_simple: error of eps to the exact one", bars, lambda: results.mean("eps_gap", **simple), at_most=0.005
    )
    yield Claim("L_simple: sliced W2", bars, lambda: results.mean("sliced_w2", **simple), at_most=0.08)
    yield Claim("L_simple: least share of a mode", bars, lambda: results.mean("least_mode", **simple), at_least=0.10)
    yield Claim("L_simple: mass within 3 sigma of a mode", bars, lambda: results.mean("mass", **simple), at_least=0.93)
