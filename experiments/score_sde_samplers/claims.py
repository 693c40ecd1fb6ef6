"""What table 1 of Score-SDE says of predictors and correctors."""

from collections.abc import Iterator

from diffusion_lit.reproduction import Claim, Results

PREDICTORS = ("ancestral", "reverse diffusion", "probability flow")


def claims(results: Results) -> Iterator[Claim]:
    table = "Song et al. 2021 (Score-SDE), table 1"
    for data in ("ring", "digits"):
        for sde in ("VP", "VE"):

            def distance(scheme: str, predictor: str = "ancestral", data: str = data, sde: str = sde) -> float:
                return results.mean(f"{data}/{sde}", data=data, sde=sde, scheme=scheme, predictor=predictor)

            yield Claim(
                f"{data}, {sde}: correctors alone are worse than the ancestral predictor at the same cost",
                table,
                lambda d=distance: d("C200") / d("P200"),
                at_least=1,
            )
            yield Claim(
                f"{data}, {sde}: averaged over predictors, PC100 is no worse than P100",
                table,
                lambda d=distance: sum(d("PC100", p) for p in PREDICTORS) / sum(d("P100", p) for p in PREDICTORS),
                at_most=1,
            )
            yield Claim(
                f"{data}, {sde}: averaged over predictors, PC100 is no worse than P200, which costs the same",
                table,
                lambda d=distance: sum(d("PC100", p) for p in PREDICTORS) / sum(d("P200", p) for p in PREDICTORS),
                at_most=1,
            )
