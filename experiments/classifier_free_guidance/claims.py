"""Guidance buys fidelity to the class with variety."""

from collections.abc import Iterator

from diffusion_lit.reproduction import Claim, Results


def claims(results: Results) -> Iterator[Claim]:
    table = "Ho & Salimans 2022, table 1"
    yield Claim(
        "w = 1: samples of the class asked for",
        "bar set before the first run; held-out images are at .98",
        lambda: results.mean("accuracy", w="1"),
        at_least=0.90,
    )
    yield Claim(
        "accuracy from w = 0 to w = 2",
        table,
        lambda: results.mean("accuracy", w="2") - results.mean("accuracy", w="0"),
        at_least=0,
    )
    yield Claim(
        "variance within a class, w = 4 over w = 0",
        table,
        lambda: results.mean("spread", w="4") / results.mean("spread", w="0"),
        at_most=0.95,
    )
    yield Claim(
        "Frechet distance, w = 4 over the best w: much guidance costs variety",
        table,
        lambda: results.mean("fd", w="4") / min(results.mean("fd", w=w) for w in results.axes["w"]),
        at_least=1.2,
    )
