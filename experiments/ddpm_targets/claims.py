"""What table 2 of DDPM says of targets and objectives."""

from collections.abc import Iterator

from diffusion_lit.reproduction import Claim, Results

FIXED, LEARNED, SIMPLE = "L, fixed variance", "L, learned variance", "L_simple"
NOISE = (
    "the gradient of L is noisy when steps are drawn equally often: with steps drawn by the loss' second moment, "
    "L of eps has 2.752 bits at the same cost, L_simple 2.855"
)
WHY = {"eps": NOISE, "v": f"as for eps, where it was tried: {NOISE}"}


def claims(results: Results) -> Iterator[Claim]:
    table = "Ho et al. 2020 (DDPM), table 2"

    def fd(target: str, objective: str) -> float:
        return results.mean("fd", target=target, objective=objective)

    def bits(target: str, objective: str) -> float:
        return results.mean("bits", target=target, objective=objective)

    yield Claim(
        "L_simple: eps is no worse than the best of x0 and v, ratio of Frechet distances",
        f"{table}; v is not in it",
        lambda: fd("eps", SIMPLE) / min(fd("x0", SIMPLE), fd("v", SIMPLE)),
        at_most=1,
    )
    yield Claim(
        "L_simple: x0 is worse than eps, ratio of Frechet distances",
        f"{table}, where the unweighted error of mu did not train",
        lambda: fd("x0", SIMPLE) / fd("eps", SIMPLE),
        at_least=1,
    )
    yield Claim(
        "eps: L_simple has the better samples than L, fixed variance, ratio of Frechet distances",
        table,
        lambda: fd("eps", SIMPLE) / fd("eps", FIXED),
        at_most=1,
    )
    for target in ("x0", "eps", "v"):
        yield Claim(
            f"{target}: L has the better bound than L_simple, variance fixed, bits/dim less",
            "Ho et al. 2020 (DDPM), section 4.3",
            lambda target=target: bits(target, SIMPLE) - bits(target, FIXED),
            at_least=0,
            reason=WHY.get(target, ""),
        )
        yield Claim(
            f"{target}: the learned variance has the better bound than the fixed one, bits/dim less",
            "Nichol & Dhariwal 2021, section 3.1",
            lambda target=target: bits(target, FIXED) - bits(target, LEARNED),
            at_least=0,
        )
