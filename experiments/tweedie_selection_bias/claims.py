"""What Efron 2011 says of selection bias, in numbers."""

from collections.abc import Iterator

from diffusion_lit.reproduction import Claim, Results


def claims(results: Results) -> Iterator[Claim]:
    efron = "Efron 2011, sections 1 to 4"
    # the oracle's mean over 3 x 100 data sets has this standard error
    yield Claim(
        "the exact posterior mean has no selection bias, in standard errors",
        "closed form",
        lambda: abs(results.mean("bias/oracle", df="5")) / (results.mean("se/oracle", df="5") / 3**0.5),
        at_most=3,
    )
    yield Claim(
        "the largest z are too large by about one standard deviation",
        efron,
        lambda: results.mean("bias/uncorrected", df="5"),
        at_least=0.9,
    )
    yield Claim(
        "Tweedie's formula with Lindsey's density removes at least 80 % of the bias",
        efron,
        lambda: 1 - abs(results.mean("bias/tweedie", df="5")) / results.mean("bias/uncorrected", df="5"),
        at_least=0.8,
    )
    yield Claim(
        "and its root mean square error is below that of the z themselves",
        efron,
        lambda: results.mean("rms/tweedie", df="5") / results.mean("rms/uncorrected", df="5"),
        at_most=1,
    )
