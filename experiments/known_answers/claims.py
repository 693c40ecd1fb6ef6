"""Bars for small networks whose answer is a closed form."""

from collections.abc import Iterator

from diffusion_lit.reproduction import Claim, Results


def claims(results: Results) -> Iterator[Claim]:
    bar = "bar set before the first run; the exact value is a closed form"
    yield Claim(
        "L_simple on N(0, I), exact .275513",
        bar,
        lambda: results.mean("obtained", task="L_simple on N(0, I)"),
        at_most=0.285,
        at_least=0.27,
    )
    yield Claim(
        "EDM's loss on N(0, I / 4), exact 1 at every noise level",
        bar,
        lambda: results.mean("obtained", task="EDM on N(0, I / 4)"),
        at_least=0.99,
        at_most=1.02,
    )
    yield Claim(
        "iDDPM's v on N(0, I), steps above 50, exact 1: beta is the variance",
        "Nichol & Dhariwal 2021, section 3.1",
        lambda: results.mean("obtained", task="iDDPM's variance on N(0, I)"),
        at_least=0.9,
        reason="beta and beta-tilde differ by less than .2 % above step 400, so that nothing teaches v there (.85 to "
        ".89); where they differ it is right: 1.02 at step 10, 1.01 at 51, .97 at 100",
    )
    for noise in ("0.1", "0.05"):
        yield Claim(
            f"two moons, noise {noise}: NLL above that of the exact density, nats",
            bar,
            lambda noise=noise: results.mean("gap", task=f"moons, {noise}"),
            at_most=0.12,
        )
