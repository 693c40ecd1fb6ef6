"""Each technique is no worse with than without; consistent sampling is no worse than annealed Langevin dynamics."""

from collections.abc import Iterator

from scipy.stats import gmean

from diffusion_lit.objectives.ncsn import level_ratio
from diffusion_lit.reproduction import Claim, Results

NCSN2 = "Song & Ermon 2020 (NCSNv2), section {}; published FIDs of CIFAR-10: 10.87 with all, 25.32 with none"
CAS = "Jolicoeur-Martineau et al. 2021, section 3"
SECTIONS = {"1": "3.1", "2": "3.2", "3": "3.3", "4": "3.4 and 4", "5": "3.5"}
#: of sliced W2 between two sets of thousands of points, whose floor is some 0.03
NOISE = 0.01


def claims(results: Results) -> Iterator[Claim]:
    names = {name.split(",")[0].removeprefix("no "): name for name in results.axes["technique"]}

    def of(metric: str, technique: str = "all") -> float:
        data = metric.partition("/")[0]
        return results.mean(metric, data=data, technique=names[technique])

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
    for technique in (*"12345", "none"):
        name, section = ("none", "5") if technique == "none" else (f"T{technique}", SECTIONS[technique])
        without = "without any" if technique == "none" else f"without {name}"
        yield Claim(
            f"digits: FD {without} over FD with all",
            NCSN2.format(section),
            lambda name=name: of("digits/ald", name) / of("digits/ald"),
            at_least=1,
        )
        if name == "T2":
            yield Claim(
                "ring: W2 with 10 levels less that with all: in 2-D technique 2 has no root, any ratio will do",
                NCSN2.format(section),
                lambda: of("ring/ald", "T2") - of("ring/ald"),
                expected=0,
                tolerance=2 * NOISE,
            )
            continue
        yield Claim(
            f"ring: W2 {without} less W2 with all",
            NCSN2.format(section),
            lambda name=name: of("ring/ald", name) - of("ring/ald"),
            at_least=-NOISE,
        )
    yield Claim(
        "ring, chains from one mode, all techniques: least share of a mode",
        "Song & Ermon 2020, proposition 1 and figure 2",
        lambda: of("ring/least_one"),
        at_least=0.05,
    )
    yield Claim(
        "ring, chains from one mode, sigma_max 1 below the distance of neighbours, 1.53: least share of a mode",
        "Song & Ermon 2020, proposition 1 and figure 2",
        lambda: of("ring/least_one", "T1"),
        at_most=0.01,
    )
    yield Claim(
        "digits, chains from one image: FD without T1 over FD with all",
        "Song & Ermon 2020, proposition 1 and figure 2",
        lambda: of("digits/one", "T1") / of("digits/one"),
        at_least=1,
    )
    yield Claim(
        "digits: FD at technique 4's step over the best of all steps tried",
        NCSN2.format("4"),
        lambda: of("digits/ald") / best("digits/ald"),
        at_most=1.1,
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
    )
    yield Claim(
        "digits: FD of CAS over ALD, same step, geometric mean over all techniques on and off",
        CAS,
        lambda: gmean(results("digits/cas", data="digits") / results("digits/ald", data="digits")),
        at_most=1,
    )
