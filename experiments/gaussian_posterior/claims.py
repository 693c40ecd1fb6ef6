"""Which methods are right on Gaussian data, and how wrong the others are."""

from collections.abc import Iterator

from diffusion_lit.reproduction import Claim, Results


def claims(results: Results) -> Iterator[Claim]:
    for method, bar in {"mmps": 0.08, "pigdm": 0.15, "tds": 0.2}.items():
        yield Claim(
            f"{method}: mean whitened W2 of five problems",
            "bar set before the first run",
            lambda method=method: results.mean("w2", method=method),
            at_most=bar,
        )
    yield Claim(
        "exact samples: the floor of the W2",
        "closed form: about sqrt((4 + 5) / n)",
        lambda: results.mean("w2", method="exact samples"),
        at_most=0.06,
    )
