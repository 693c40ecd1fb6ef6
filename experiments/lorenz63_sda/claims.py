"""Windows and Langevin corrections come near the particle filter (Rozet & Louppe 2023, section 4.1)."""

from collections.abc import Iterator

from diffusion_lit.reproduction import Claim, Results


def claims(results: Results) -> Iterator[Claim]:
    paper = "Rozet & Louppe 2023, figure 3"
    for regime in results.axes["observations"]:

        def at(windows: str, metric: str = "emd/ratio", regime: str = regime) -> float:
            return results.mean(metric, windows=windows, observations=regime)

        yield Claim(
            f"{regime}: earth mover's distance to the filter over that of two filters, k = 4 and C = 16",
            "bar set before the first run",
            lambda at=at: at("k 4, C 16"),
            at_most=1.5,
        )
        yield Claim(
            f"{regime}: wider windows are nearer to the filter: k = 4 over k = 1, C = 4",
            paper,
            lambda at=at: at("k 4, C 4") / at("k 1, C 4"),
            at_most=1,
        )
        yield Claim(
            f"{regime}: corrections bring samples nearer: C = 4 over C = 0, k = 4",
            paper,
            lambda at=at: at("k 4, C 4") / at("k 4, C 0"),
            at_most=1,
        )
        yield Claim(
            f"{regime}: log p(x_2 .. x_L | x_1) of C = 16 less that of C = 0, k = 4, nats",
            paper,
            lambda at=at: at("k 4, C 16", "path") - at("k 4, C 0", "path"),
            at_least=0,
        )
