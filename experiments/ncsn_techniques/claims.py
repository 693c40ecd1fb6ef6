"""Each technique is no worse with than without; consistent sampling is no worse than annealed Langevin dynamics."""

from collections.abc import Iterator

from scipy.stats import gmean

from diffusion_lit.objectives.ncsn import level_ratio
from diffusion_lit.reproduction import Claim, Results

NCSN2 = "Song & Ermon 2020 (NCSNv2), {}; published FIDs of CIFAR-10: 10.87 with all, 25.32 with none"
FIGURE = "Song & Ermon 2020, proposition 1 and figure 2"
CAS = "Jolicoeur-Martineau et al. 2021, algorithm 2 against annealed Langevin dynamics"
AFTER = "as above, at a step share of 0.5; added after the first run, when the cause of the failures was known"
PARTS = {**{f"T{i}": f"technique {i}" for i in range(1, 6)}, "none": "all techniques"}
#: of sliced W2 between two sets of thousands of points, whose floor is some 0.03
NOISE = 0.01

BLIND = (
    "a network that is not told the level (T3) pulls with eps(x) / sigma, whose length does not grow with the noise, "
    "and T4's step is solved for a pull that does; what is left then, in closed form, is `left_blind`. "
)
REASONS = {
    "digits T1": f"{BLIND}It is 2.17 with all, but 1.50 here: the shorter ladder has 7 moves a level in place of 5",
    "ring T1": f"{BLIND}It is 1.62 with all and 1.39 here; the best networks there can be have the same order, "
    ".204 and .069. Chains from the middle reach all modes by symmetry",
    "ring T2": f"{BLIND}It is 1.62 with all and 7.86 here. The best network that is not told has .204 and .450 too; "
    "the exact score, which is told, .047 and .075: the ladder alone does little",
    "ring T3": "in two dimensions a point does not show how noisy it is: the best network that is not told has .204, "
    "the exact score .047",
    "modes": "the bar asked too much: the proposition's exp(-d^2 / 8 sigma^2) is .75 for neighbours and .14 across, so "
    "chains do travel. With the exact score the least share is .056 at sigma_max 1 and 0 at 0.5",
    "one": "sigma_max 2 is no obstacle: exp(-d^2 / 8 sigma^2) is .31 at the median distance of the digits, 6.1; the "
    "rest is as without one image",
    "T4": f"{BLIND}It is 2.17 at T4's share of .235, and least, 1.31, near .5",
    "cas": "with the best network that is not told the level it is so too, .058 and .070 of 10,000 points; with the "
    "exact score the two are alike, .047 and .051",
}


def claims(results: Results) -> Iterator[Claim]:
    names = {name.split(",")[0].removeprefix("no "): name for name in results.axes["technique"]}

    def of(metric: str, technique: str = "all") -> float:
        return results.mean(metric, data=metric.partition("/")[0], technique=names[technique])

    def best(sampler: str) -> float:
        metrics = results.at(data=sampler.partition("/")[0], technique="all")[0].metrics
        return min(value for key, value in metrics.items() if key.startswith(f"{sampler}@") or key == sampler)

    for data in ("ring", "digits"):
        yield Claim(
            f"{data}: sigma_max is the largest distance (T1)",
            "Song & Ermon 2020, technique 1",
            lambda data=data: of(f"{data}/reach"),
            expected=1,
            tolerance=0.01,
        )
    yield Claim(
        "digits: the ratio of levels over that of technique 2",
        "Song & Ermon 2020, technique 2: closed form",
        lambda: of("digits/gamma") / level_ratio(64),
        at_most=1,
        at_least=0.95,
    )
    for name, part in PARTS.items():
        without = "without any" if name == "none" else f"without {name}"
        yield Claim(
            f"digits: FD {without} over FD with all",
            NCSN2.format(part),
            lambda name=name: of("digits/ald", name) / of("digits/ald"),
            at_least=1,
            reason=REASONS.get(f"digits {name}", ""),
        )
        if name == "T2":
            yield Claim(
                "ring: W2 with 10 levels less that with all: in 2-D technique 2 has no root, any ratio will do",
                NCSN2.format(part),
                lambda: of("ring/ald", "T2") - of("ring/ald"),
                expected=0,
                tolerance=2 * NOISE,
                reason=REASONS["ring T2"],
            )
            continue
        yield Claim(
            f"ring: W2 {without} less W2 with all",
            NCSN2.format(part),
            lambda name=name: of("ring/ald", name) - of("ring/ald"),
            at_least=-NOISE,
            reason=REASONS.get(f"ring {name}", ""),
        )
    for name in ("T1", "T2", "T3", "T5", "none"):
        yield Claim(
            f"digits, step share 0.5: FD {name if name == 'none' else f'without {name}'} over FD with all",
            AFTER,
            lambda name=name: of("digits/ald@0.5", name) / of("digits/ald@0.5"),
            at_least=1,
        )
    yield Claim(
        "ring, chains from one mode, all techniques: least share of a mode",
        FIGURE,
        lambda: of("ring/least_one"),
        at_least=0.05,
    )
    yield Claim(
        "ring, chains from one mode, sigma_max 1 below the distance of neighbours, 1.53: least share of a mode",
        FIGURE,
        lambda: of("ring/least_one", "T1"),
        at_most=0.01,
        reason=REASONS["modes"],
    )
    yield Claim(
        "digits, chains from one image: FD without T1 over FD with all",
        FIGURE,
        lambda: of("digits/one", "T1") / of("digits/one"),
        at_least=1,
        reason=REASONS["one"],
    )
    yield Claim(
        "digits: FD at technique 4's step over the best of all steps tried",
        NCSN2.format("technique 4"),
        lambda: of("digits/ald") / best("digits/ald"),
        at_most=1.1,
        reason=REASONS["T4"],
    )
    yield Claim("digits: FD of CAS over ALD, same step", CAS, lambda: of("digits/cas") / of("digits/ald"), at_most=1)
    yield Claim(
        "digits: FD of CAS over ALD, each at its best step",
        CAS,
        lambda: best("digits/cas") / best("digits/ald"),
        at_most=1,
    )
    yield Claim("ring: W2 of CAS less ALD, same step", CAS, lambda: of("ring/cas") - of("ring/ald"), at_most=NOISE)
    yield Claim(
        "ring: W2 of CAS less ALD, each at its best step",
        CAS,
        lambda: best("ring/cas") - best("ring/ald"),
        at_most=NOISE,
        reason=REASONS["cas"],
    )
    yield Claim(
        "digits: FD of CAS over ALD, same step, geometric mean over all techniques on and off",
        CAS,
        lambda: gmean(results("digits/cas", data="digits") / results("digits/ald", data="digits")),
        at_most=1,
    )
