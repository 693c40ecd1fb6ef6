"""Second-order solvers need far fewer calls; the grid must fit the noise."""

from collections.abc import Iterator

from diffusion_lit.reproduction import Claim, Results


def claims(results: Results) -> Iterator[Claim]:
    def w2(name: str, solver: str, grid: str, nfe: int) -> float:
        data = "digits" if name == "digits" else "gaussian"
        return results.mean(f"{name}/{nfe}", data=data, solver=solver, grid=grid, nfe=str(nfe))

    yield Claim(
        "VP: the best second-order solver at 16 calls",
        "bar set before the first run",
        lambda: min(w2("vp", s, g, 16) for s in ("Heun", "DPM++(2M)", "EAB2") for g in results.axes["grid"]),
        at_most=0.09,
    )
    yield Claim(
        "EDM, Karras' grid: Heun's error over Euler's at 64 calls",
        "Karras et al. 2022, figure 2",
        lambda: w2("edm", "Heun", "karras", 64) / w2("edm", "Euler", "karras", 64),
        at_most=0.5,
    )
    for solver, order in {"Euler": 1.0, "Heun": 2.0, "DPM++(2M)": 2.0}.items():
        yield Claim(
            f"EDM, Karras' grid: {solver}'s error at 64 calls over that at 128, 2^order but for 15 %",
            "definition of the order; the step to the data counts too",
            lambda solver=solver: w2("edm", solver, "karras", 64) / w2("edm", solver, "karras", 128),
            at_least=0.85 * 2**order,
        )
    figure = "Karras et al. 2022, figure 2"
    yield Claim(
        "digits, Karras' grid, 32 calls: Heun's distance over Euler's",
        figure,
        lambda: w2("digits", "Heun", "karras", 32) / w2("digits", "Euler", "karras", 32),
        at_most=1,
    )
    yield Claim(
        "digits, 16 calls: the best multistep solver over the best of Euler and Heun",
        "Lu et al. 2022 (DPM-Solver++), section 4",
        lambda: (
            min(w2("digits", s, g, 16) for s in ("DPM++(2M)", "EAB2") for g in results.axes["grid"])
            / min(w2("digits", s, g, 16) for s in ("Euler", "Heun") for g in results.axes["grid"])
        ),
        at_most=1,
    )
    yield Claim(
        "digits, Heun, 32 calls: Karras' grid over the uniform one",
        figure,
        lambda: w2("digits", "Heun", "karras", 32) / w2("digits", "Heun", "uniform", 32),
        at_most=1.1,
    )
    yield Claim(
        "digits, Karras' grid, 128 calls: churn makes up for what is left of the error",
        "Karras et al. 2022, figure 4",
        lambda: w2("digits", "Heun, churn", "karras", 128) / w2("digits", "Heun", "karras", 128),
        at_most=1,
    )
