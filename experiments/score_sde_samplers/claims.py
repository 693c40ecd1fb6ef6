"""What table 1 of Score-SDE says of predictors and correctors."""

from collections.abc import Iterator

from diffusion_lit.reproduction import Claim, Results

PREDICTORS = ("ancestral", "reverse diffusion", "probability flow")


def claims(results: Results) -> Iterator[Claim]:
    table = "Song et al. 2021 (Score-SDE), table 1"
    for sde in ("VP", "VE"):

        def w2(scheme: str, predictor: str = "ancestral", sde: str = sde) -> float:
            return results.mean(f"w2/{sde}", sde=sde, scheme=scheme, predictor=predictor)

        yield Claim(
            f"{sde}: correctors alone are worse than the ancestral predictor at the same cost",
            table,
            lambda w2=w2: w2("C200") / w2("P200"),
            at_least=1,
        )
        yield Claim(
            f"{sde}: averaged over predictors, PC100 is no worse than P100",
            table,
            lambda w2=w2: sum(w2("PC100", p) for p in PREDICTORS) / sum(w2("P100", p) for p in PREDICTORS),
            at_most=1,
        )
