"""Runs of one configuration and different seeds, as one group that is named by what sets it apart."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from diffusion_lit.errors import UserError
from diffusion_lit.tracking.comparison.differences import Difference, config_differences
from diffusion_lit.tracking.comparison.runs import Run

__all__ = ["Group", "find_group", "group_runs"]

_IN_NAME = 4  # differences that a name tells at most; further ones only if nothing else sets the groups apart


@dataclass(frozen=True)
class Group:
    """Runs that differ in nothing but their seeds and their names.

    Args:
        name: what sets it apart from the other groups, such as "lr=0.001, schedule=Cosine".
        runs: positions in the list of runs, the seeds in order.
        repeats: positions of further runs of a seed that is there already: no draw of their own, so they do not count.
        values: difference label -> its full text.
    """

    name: str
    runs: list[int]
    repeats: list[int]
    values: dict[str, str | None]


def group_runs(runs: Sequence[Run]) -> tuple[list[Group], list[Difference]]:
    """Fold the seeds; a run whose configuration is not known stands alone.

    Returns:
        The groups in the natural order of their values, and the differences between the configurations, whose texts are
        in the order of those runs that have a configuration.
    """
    known = [i for i, run in enumerate(runs) if run.config]
    differences = config_differences([runs[i] for i in known])
    training = [one for one in differences if not one.measuring]
    members: dict[tuple[str | None, ...], list[int]] = {}
    for place, i in enumerate(known):
        members.setdefault(tuple(one.full[place] for one in training), []).append(i)
    names = _names(training, [known.index(of_group[0]) for of_group in members.values()], _common(runs, known))
    groups = []
    for name, (values, of_group) in zip(names, members.items()):
        first, repeats = _seeds(runs, of_group)
        groups.append(Group(name, first, repeats, dict(zip([one.label for one in training], values))))
    groups.sort(key=lambda group: [_natural(value or "") for value in group.values.values()])
    unknown = [Group(run.name, [i], [], {}) for i, run in enumerate(runs) if i not in known]
    return groups + unknown, differences


def find_group(groups: Sequence[Group], runs: Sequence[Run], name: str) -> int:
    """Return the position of the group that `name` means: its name, a part of it, or a run of it; the first for "".

    Raises:
        UserError: none or several match.
    """
    exact = [g for g, group in enumerate(groups) if name in (group.name, *(runs[i].name for i in group.runs))]
    found = exact or [g for g, group in enumerate(groups) if name in group.name]
    if name and len(found) != 1:
        choices = "; ".join(group.name for group in groups)
        raise UserError(f"baseline={name}: names {len(found)} of the groups, which are: {choices}")
    return found[0]


def _names(training: Sequence[Difference], places: Sequence[int], common: str) -> list[str]:
    """One name a group, whose first run stands at `places` of the texts."""
    if not training:
        return [common] * len(places)
    whole = len({tuple(one.full[place] for one in training) for place in places})
    chosen = [one for one in training if len(training) <= _IN_NAME or one.key == "data"]

    def apart(candidates: Sequence[Difference]) -> int:
        return len({tuple(one.full[place] for one in candidates) for place in places})

    while apart(chosen) < whole:
        rest = [one for one in training if one not in chosen]
        # of equals, what is used in several places, then objects, then the shortest name
        use = {one.key: (bool(one.echoes), one.short != one.full, -len(one.label)) for one in rest}
        chosen.append(max(rest, key=lambda one: (apart([*chosen, one]), *use[one.key])))
    chosen.sort(key=lambda one: one.key)
    left = len(training) - len(chosen)
    return [", ".join(_part(one, place) for one in chosen) + (f", +{left} more" if left else "") for place in places]


def _part(one: Difference, place: int) -> str:
    """label=value; of an object, the arguments in which it differs from others of its class."""
    told = one.short[place]
    kin = {full for short, full in zip(one.short, one.full) if short == told and full is not None}
    if told is not None and len(kin) > 1:
        common = set.intersection(*(set(_arguments(full)) for full in kin))
        own = ", ".join(argument for argument in _arguments(str(one.full[place])) if argument not in common)
        told += f"({own})" if own else ""
    return f"{one.label}={told if told is not None else 'none'}"


def _arguments(call: str) -> list[str]:
    """The arguments in a text such as "VE(sigma_min=0.1, sigma_max=80)"."""
    return [argument for argument in call.partition("(")[2].removesuffix(")").split(", ") if argument]


def _common(runs: Sequence[Run], known: Sequence[int]) -> str:
    names = {str(runs[i].config.get("task_name", runs[i].name)) for i in known}
    return names.pop() if len(names) == 1 else "all runs"


def _seeds(runs: Sequence[Run], of_group: Sequence[int]) -> tuple[list[int], list[int]]:
    """Split a group into one run a seed, the furthest one, and the rest; both in the order of the seeds."""
    by_seed: dict[str, list[int]] = {}
    for i in of_group:
        by_seed.setdefault(json.dumps(runs[i].seed, default=str), []).append(i)
    first = [max(same, key=lambda i: (runs[i].images_seen, -i)) for same in by_seed.values()]
    first.sort(key=lambda i: _natural(str(runs[i].seed)))
    return first, [i for i in of_group if i not in first]


def _natural(text: str) -> list[tuple[int, float, str]]:
    """A key that sorts numbers in a text by their size."""
    parts = re.split(r"(\d+\.?\d*(?:e[-+]?\d+)?)", text)
    return [(0, float(part), "") if i % 2 else (1, 0.0, part) for i, part in enumerate(parts)]
