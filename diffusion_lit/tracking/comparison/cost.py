"""What each run cost: time, speed, attempts, calls of the network, its size, and the machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffusion_lit.tracking.comparison.groups import Group
from diffusion_lit.tracking.comparison.runs import Run
from diffusion_lit.tracking.words import Number, show

__all__ = ["Cost", "costs"]

#: Key, words, unit, and a sentence for those who ask.
COLUMNS = (
    ("images_seen", "images seen", "", "How far training came."),
    ("seconds", "training time", "s", "Over all attempts, with what was lost to kills."),
    ("images_per_second", "images / s", "", "Images seen over training time."),
    ("attempts", "attempts", "", "Starts of the process, the first among them."),
    ("nfe", "NFE a sample", "", "Network evaluations of a restored sample, else of a generated one."),
    ("vjps", "VJPs a sample", "", "Vector-Jacobian products of a restored sample."),
    ("parameters", "parameters", "", "Of the network."),
    ("flops", "FLOPs", "", "Of a forward pass of one sample."),
    ("memory", "memory", "B", "Weights, gradients, optimiser and activations of a training step, estimated."),
)


@dataclass(frozen=True)
class Cost:
    """A group's costs, the mean over its seeds where they differ.

    Args:
        numbers: one a column of `COLUMNS`, None where nothing is known.
        texts: the same as shown.
        hardware: the machines, each once.
        versions: of the package and torch, each once.
    """

    numbers: list[Number | None]
    texts: list[str]
    hardware: list[str]
    versions: list[str]


def costs(runs: Sequence[Run], groups: Sequence[Group]) -> list[Cost]:
    """Return one entry a group."""
    return [_cost([runs[i] for i in group.runs]) for group in groups]


def _cost(runs: Sequence[Run]) -> Cost:
    facts = [_facts(run) for run in runs]
    numbers: list[Number | None] = []
    texts = []
    for key, _, unit, _ in COLUMNS:
        found = [of_run[key] for of_run in facts if isinstance(of_run.get(key), int | float)]
        mean = sum(found) / len(found) if found else None
        mean = int(mean) if mean is not None and mean == int(mean) else mean
        numbers.append(mean)
        texts.append("\N{EN DASH}" if mean is None else _shown(mean, unit))
    hardware = dict.fromkeys(_machine(run.record.get("hardware")) for run in runs)
    versions = dict.fromkeys(_versions(run) for run in runs)
    return Cost(numbers, texts, [text for text in hardware if text], [text for text in versions if text])


def _facts(run: Run) -> dict[str, Any]:
    network = run.record.get("network")
    network = network if isinstance(network, dict) else {}
    seconds, seen = run.record.get("train_seconds") or None, run.images_seen or run.summary.get("images_seen")
    rate = seen / seconds if seen and isinstance(seconds, int | float) else None
    if not run.record.get("finished"):  # its seconds were noted at the last checkpoint, its images since
        rates = [line["train/images_per_second"] for line in run.lines if "train/images_per_second" in line]
        rate = sum(rates) / len(rates) if rates else None
    return {
        "images_seen": seen,
        "seconds": seconds,
        "images_per_second": rate,
        "attempts": len(run.attempts) or None,
        "nfe": _of_sample(run, "nfe"),
        "vjps": _of_sample(run, "vjps"),
        "parameters": network.get("parameters"),
        "flops": network.get("flops"),
        "memory": network.get("memory_bytes"),
    }


def _of_sample(run: Run, what: str) -> Number | None:
    if f"{what}_per_sample" in run.summary:
        return run.summary[f"{what}_per_sample"]
    found = [value for line in run.lines for name, value in line.items() if name.endswith(f"/{what}")]
    return found[-1] if found else None


def _shown(number: Number, unit: str) -> str:
    if unit == "B":
        return f"{number / 2**30:.3g} GiB" if number >= 2**30 else f"{number / 2**20:.3g} MiB"
    if unit == "s":
        return show(number, unit)
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
        if abs(number) >= size:
            return f"{number / size:.3g} {letter}"
    return show(number, unit)


def _machine(hardware: Any) -> str:
    if not isinstance(hardware, Mapping):
        return ""
    cards = hardware.get("gpu")
    if isinstance(cards, list) and cards:
        return f"{len(cards)} x {cards[0]}"
    memory = f", {hardware['memory_gib']} GiB" if hardware.get("memory_gib") else ""
    return f"{hardware.get('cpu', 'unknown processor')}, {hardware.get('cores', '?')} cores{memory}"


def _versions(run: Run) -> str:
    git = run.record.get("git")
    commit = (
        f" ({str(git.get('commit'))[:7]}{', changed' if git.get('dirty') else ''})" if isinstance(git, dict) else ""
    )
    version, torch = run.record.get("version"), run.record.get("torch")
    return f"{version}{commit}, torch {torch}" if version else ""
