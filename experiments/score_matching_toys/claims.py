"""All four learn the same score; the exact trace costs most, one projection least."""

from collections.abc import Iterator

from diffusion_lit.reproduction import Claim, Results

BARS = {"ISM": 0.10, "SSM": 0.10, "SSM-VR": 0.10, "DSM": 0.05}


def claims(results: Results) -> Iterator[Claim]:
    for objective, bar in BARS.items():
        for data in ("ring", "moons"):
            yield Claim(
                f"{objective} on {data}: relative Fisher divergence",
                "bars set before the first run",
                lambda objective=objective, data=data: results.mean("fisher", objective=objective, data=data),
                at_most=bar,
            )
    yield Claim(
        "SSM-VR is no worse than SSM on average",
        "Song et al. 2019, section 3.2",
        lambda: results.mean("fisher", objective="SSM-VR") / results.mean("fisher", objective="SSM"),
        at_most=1.1,
    )
