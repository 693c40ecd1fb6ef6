"""What differs between the configurations of runs, each difference told once, where a reader would look for it.

A resolved configuration repeats itself: model.schedule stands in model.denoiser and in model.module.denoiser as well,
and another class has other arguments. Three rules make one difference of what is one decision: keys of the same
name with the same values are echoes of the shortest; what stands under an object whose class differs belongs to it;
and what follows the run's seed is the seed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffusion_lit.tracking.comparison.runs import Run, part
from diffusion_lit.tracking.identity import canonical, flatten

__all__ = ["Difference", "config_differences", "data_name", "value_text"]

_NAMES_ONLY = ("task_name", "run_identity")  # what a run is called changes nothing in it
_VAGUE = ("name", "value", "every", "n", "size")  # ends of keys that say nothing without the part before


@dataclass(frozen=True)
class Difference:
    """One decision in which the runs differ.

    Args:
        key: dotted key, of an object the key of the whole.
        label: its shortest end that no other difference has.
        short: one text a run, None where the run does not have the key; of an object its class.
        full: the same with the arguments of objects.
        echoes: further keys that say the same.
        measuring: whether it is about how runs are measured and not about what is trained.
    """

    key: str
    label: str
    short: list[str | None]
    full: list[str | None]
    echoes: list[str]
    measuring: bool


def config_differences(runs: Sequence[Run]) -> list[Difference]:
    """Return what differs between the configurations and data of the runs, but for their seeds, in order of keys."""
    leaves = [_leaves(run) for run in runs]
    keys = sorted(set().union(*leaves)) if leaves else []
    table = {key: tuple(of_run.get(key) for of_run in leaves) for key in keys}
    differing = {key: values for key, values in table.items() if len(set(values)) > 1}
    measures = ("evaluation.", "every.", *_evaluations(runs))

    def measuring(key: str) -> bool:
        return key.startswith(measures) or (key.startswith("callbacks.") and key.endswith(".every"))

    whole: dict[str, list[str]] = {}
    for key in differing:
        whole.setdefault(_owner(key, differing, _same_data(runs)), []).append(key)
    found: dict[Any, list[tuple[str, list[str]]]] = {}
    for owner, parts in whole.items():
        said = (owner.rpartition(".")[2], tuple((part.removeprefix(owner), table[part]) for part in sorted(parts)))
        found.setdefault(said, []).append((owner, parts))
    result = []
    for places in found.values():
        places.sort(key=lambda place: (measuring(place[0]), place[0].count("."), len(place[0])))
        owner, parts = places[0]
        texts = _texts(owner, parts, table, runs)
        echoes = [place for place, _ in places[1:]]
        result.append(Difference(owner, "", *texts, echoes, measuring(owner)))
    return _labelled(sorted(result, key=lambda found: (found.measuring, found.key)))


def value_text(value: str | None) -> str:
    """Return a JSON text as a reader wants it: words without quotes, classes without their module."""
    if value is None:
        return "\N{EN DASH}"
    plain = json.loads(value)
    if isinstance(plain, float):
        return f"{plain:.12g}"  # without the rounding of binary numbers
    return plain if isinstance(plain, str) else json.dumps(plain).replace('"', "")


def data_name(run: Run) -> str:
    """Return what a run's data is called."""
    found = next((run.data[key] for key in ("name", "source", "toy") if isinstance(run.data.get(key), str)), None)
    return found or "unknown data"


def _leaves(run: Run) -> dict[str, str]:
    seed, home = json.dumps(run.seed), part(run.config, "paths").get("run")
    found = {}
    for key, value in canonical(run.config).items():
        follows = key.rpartition(".")[2] == "seed" and value == seed
        if key not in _NAMES_ONLY and not follows:
            found[key] = value.replace(home, "RUN") if isinstance(home, str) and len(home) > 1 else value
    if run.data.get("identity"):
        found["data.identity"] = json.dumps(run.data["identity"])
    return found


def _evaluations(runs: Sequence[Run]) -> set[str]:
    """Prefixes of the callbacks that measure."""
    return {
        f"callbacks.{name}."
        for run in runs
        for name, entry in part(run.config, "callbacks").items()
        if isinstance(entry, dict) and "evaluator" in entry
    }


def _same_data(runs: Sequence[Run]) -> bool:
    return len({run.data.get("identity") for run in runs} - {None}) < 2


def _owner(key: str, differing: Mapping[str, Any], same_data: bool) -> str:
    """The outermost object that the key is a part of, if its class differs; the key itself if there is none."""
    if key.startswith("data.") and not same_data:
        return "data"
    parts = key.split(".")
    owners = [".".join(parts[:end]) for end in range(1, len(parts))]
    return next((owner for owner in owners if f"{owner}._target_" in differing), key)


def _texts(
    owner: str, parts: Sequence[str], table: Mapping[str, tuple[str | None, ...]], runs: Sequence[Run]
) -> tuple[list[str | None], list[str | None]]:
    if owner == "data" and "data.identity" in parts:
        names = [data_name(run) for run in runs]
        one_name = {name: {r.data.get("identity") for r, n in zip(runs, names) if n == name} for name in names}
        told = [
            name if len(one_name[name]) == 1 else f"{name} {str(r.data.get('identity'))[:6]}"
            for name, r in zip(names, runs)
        ]
        return list(told), list(told)
    if parts == [owner]:
        plain = [None if value is None else value_text(value) for value in table[owner]]
        return list(plain), list(plain)
    short: list[str | None] = []
    full: list[str | None] = []
    for i in range(len(runs)):
        name = table[f"{owner}._target_"][i]
        here = {part.removeprefix(f"{owner}."): table[part][i] for part in parts}
        arguments = [_argument(key, value) for key, value in here.items() if value is not None and key != "_target_"]
        short.append(None if name is None else _class(name))
        told = ", ".join(filter(None, arguments))
        full.append(None if name is None else f"{_class(name)}({told})" if told else _class(name))
    return short, full


def _argument(key: str, value: str) -> str:
    if key.endswith("_partial_"):
        return ""
    return f"{key.removesuffix('._target_')}={_class(value) if key.endswith('._target_') else value_text(value)}"


def _class(target: str) -> str:
    return value_text(target).rpartition(".")[2]


def _labelled(found: list[Difference]) -> list[Difference]:
    """Give each the shortest end of its key that no other one has."""
    result = []
    for one in found:
        parts = one.key.split(".")
        ends = [".".join(parts[-length:]) for length in range(1 + (parts[-1] in _VAGUE), len(parts) + 1)]
        others = [other.key for other in found if other is not one]
        label = next((e for e in ends if not any(f".{other}".endswith(f".{e}") for other in others)), one.key)
        result.append(Difference(one.key, label, one.short, one.full, one.echoes, one.measuring))
    return result


def settings(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the leaves of a part of a configuration as texts."""
    return {key: value_text(json.dumps(value, default=str)) for key, value in flatten(config)}
