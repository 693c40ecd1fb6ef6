"""Samples of the exact posterior set the floor; near it is who has the covariance and the modes right."""

from collections.abc import Iterator

from diffusion_lit.reproduction import Claim, Results

BARS = "bar set before the first run"
EXACT_RMSE = {"A1, 0.2": 1.13, "A1, 0.5": 1.30, "A2, 0.2": 1.17, "A2, 0.5": 1.20}


def claims(results: Results) -> Iterator[Claim]:
    for problem, published in EXACT_RMSE.items():
        yield Claim(
            f"{problem}: RMSE of exact samples, as published but for the noise drawn",
            "arXiv:2602.04189, exact posterior",
            lambda problem=problem: results.mean("rmse", method="exact", problem=problem),
            expected=published,
            tolerance=0.1,
        )
    yield Claim(
        "mass of the exact posterior in 90 % intervals of exact samples",
        "closed form",
        lambda: results.mean("coverage", method="exact"),
        expected=0.9,
        tolerance=0.01,
    )
    for problem in ("A1, 0.2", "A1, 0.5"):
        yield Claim(
            f"{problem}: mmps' sliced W2 over that of exact samples; what is measured is Gaussian",
            BARS,
            lambda problem=problem: (
                results.mean("sw", method="mmps", problem=problem) / results.mean("sw", method="exact", problem=problem)
            ),
            at_most=2.0,
        )
    yield Claim(
        "coverage of mmps over all problems",
        BARS,
        lambda: results.mean("coverage", method="mmps"),
        at_least=0.85,
        at_most=0.95,
    )
    yield Claim(
        "dps: sliced W2 over that of mmps, the mean over problems",
        BARS,
        lambda: results.mean("sw", method="dps") / results.mean("sw", method="mmps"),
        at_least=1.0,
    )
    yield Claim(
        "exact samples do not have the least score-KSD: that of the best method over theirs, A2, 0.2",
        "arXiv:2602.04189, table: 0.50 against 1.31",
        lambda: (
            min(
                results.mean("ksd", method=method, problem="A2, 0.2")
                for method in results.axes["method"]
                if method != "exact"
            )
            / results.mean("ksd", method="exact", problem="A2, 0.2")
        ),
        at_most=1.0,
    )
