"""The numbers of a run and what each depends on: two numbers are compared only if they were measured in the same way.

A metric's name carries some of what it depends on (extractor, n, weights, sampler). What it does not carry is read from
the configuration of the evaluation that logged it, from the data's identity and, for times, from the hardware. The
names in summary.json are short; their full names are found again as those of the equal numbers in metrics.jsonl.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from diffusion_lit.tracking.comparison.differences import data_name, settings
from diffusion_lit.tracking.comparison.runs import Run, part

__all__ = ["NO_METRICS", "Value", "evaluations", "summarised", "unlike", "values"]

#: Keys of a line that are no metrics.
NO_METRICS = ("images_seen", "time", "epoch", "attempt", "train/images_digest")
_ERRORS = ("/standard_error", "_standard_error")
_TIMES = ("seconds", "train_seconds", "images_per_second")
_FAMILIES = {
    "NoiseLevels": ("loss_by_noise", "validation"),
    "Sampling": ("fd", "kd", "samples", "fd_alex", "kd_alex"),
    "Restoration": ("restoration", "psnr", "psnr_hidden", "ssim", "lpips", "misfit_ratio"),
}
# Settings of an evaluation that change no number, or that belong to single tasks and methods.
_NO_MATTER = {
    "batch_size",
    "shown",
    "grid",
    "landmarks",
    "extractors",
    "operators",
    "methods",
    "baselines",
    "_partial_",
}


@dataclass(frozen=True)
class Value:
    """One number of a run.

    Args:
        value: the number; may be NaN or infinite.
        images_seen: when it was measured.
        depends: on what it depends, by name; numbers are comparable if these are equal.
        error: its own standard error, if it was logged.
    """

    value: int | float
    images_seen: int
    depends: dict[str, str]
    error: int | float | None = None


def values(run: Run, at: Mapping[str, int] | None = None) -> dict[str, Value]:
    """Return the last value of every metric of metrics.jsonl, by full name.

    Args:
        run: whose.
        at: metric name -> the images seen to take it at instead; a metric that it does not name is left out.
    """
    last: dict[str, tuple[int, str]] = {}
    evaluated = evaluations(run)
    for number, line in enumerate(run.lines):
        for name in line:
            no_metric = name in NO_METRICS or name.endswith(_ERRORS)
            if not no_metric and (at is None or at.get(name) == line["images_seen"]):
                last[name] = number, "evaluation" if number in evaluated else "training"
    found = {}
    for name, (number, source) in last.items():
        line = run.lines[number]
        seen = int(line["images_seen"])
        depends = _depends(run, name, seen, source, equal=at is not None)
        found[name] = Value(line[name], seen, depends, _error(line, name))
    return found


def summarised(run: Run, logged: Mapping[str, Value]) -> dict[str, tuple[str | None, Value]]:
    """Return the numbers of summary.json with the full name of each, None where no equal number was logged.

    Args:
        run: whose.
        logged: what `values` returned for it.
    """
    told = run.summary.get("images_seen", math.nan)
    seen = int(told) if math.isfinite(told) else run.images_seen
    found = {}
    for key, value in run.summary.items():
        if key in ("images_seen", "train_seconds") or key.endswith(_ERRORS):
            continue
        names = [name for name, one in logged.items() if one.value == value and one.images_seen == seen]
        name = next((name for name in names if _is_named(key, name)), None)
        if name is not None:
            found[key] = (name, Value(value, seen, {"metric": name} | logged[name].depends, logged[name].error))
        else:
            depends = _depends(run, key, seen, "evaluation")
            found[key] = (None, Value(value, seen, depends, _error(run.summary, key)))
    return found


def evaluations(run: Run) -> set[int]:
    """Return the positions of the lines that an evaluation wrote beside training.

    A follower wrote it, it came after the end of training, it measured for a second time, or what training never
    measures or not then.
    """
    try:
        end = datetime.fromisoformat(str(run.record.get("finished"))).timestamp() + 1  # it is written without fractions
    except ValueError:
        end = float("inf")
    found, before = set(), set()
    for number, line in enumerate(run.lines):
        if number in run.beside:
            found.add(number)
            continue
        metrics = {(line["images_seen"], name) for name in line if name not in NO_METRICS}
        heads = {name.partition("/")[0] for name in line}
        beside = any(_is_due(run, head, int(line["images_seen"])) is False for head in heads)
        if beside or float(line.get("time", 0.0)) >= end or metrics & before:
            found.add(number)
        before |= metrics
    return found


def _is_due(run: Run, head: str, seen: int) -> bool | None:
    """Whether training measures a family of metrics at these images seen; None if config.yaml does not tell."""
    for entry, kind, evaluator in _entries(run, "callbacks", head):
        every, batch = entry.get("every"), run.config.get("batch_size")
        if head in ("fd", "kd") and kind == "Sampling" and not evaluator.get("extractors"):
            return False
        if isinstance(every, int) and isinstance(batch, int) and every > 0:
            step = batch * (part(run.config, "trainer").get("accumulate_grad_batches") or 1)
            return seen % every < step
    return None


def _entries(run: Run, group: str, head: str) -> Iterator[tuple[dict[str, Any], str, dict[str, Any]]]:
    """Yield (entry, kind, evaluator) of the evaluations in a group of config.yaml that write metrics called head/..."""
    for entry in part(run.config, group).values():
        evaluator = part(entry, "evaluator")
        kind = str(evaluator.get("_target_", "")).rpartition(".")[2]
        if head in _FAMILIES.get(kind, ()):
            yield entry, kind, evaluator


def unlike(one: Mapping[str, str], two: Mapping[str, str]) -> str:
    """Return in what two numbers were measured otherwise, in words: what it is of the first, instead of the second."""
    said = []
    for key in (key for key in dict.fromkeys([*one, *two]) if one.get(key) != two.get(key)):
        here, there = one.get(key, "unknown"), two.get(key, "unknown")
        if here.startswith("{") and there.startswith("{"):
            parts, others = json.loads(here), json.loads(there)
            inner = [leaf for leaf in dict.fromkeys([*parts, *others]) if parts.get(leaf) != others.get(leaf)]
            for leaf in [leaf for leaf in inner if leaf.endswith("_target_")][:1] or inner:  # another class says it all
                name = f"{key}.{leaf}".removesuffix("._target_")
                said.append(f"{name} {_last(parts.get(leaf))} instead of {_last(others.get(leaf))}")
        else:
            said.append(f"{key} {here} instead of {there}")
    return "; ".join(said)


def _depends(run: Run, name: str, seen: int, source: str, equal: bool = False) -> dict[str, str]:
    """What a number depends on besides its name."""
    found: dict[str, str] = {}
    timed = name.rpartition("/")[2] in _TIMES
    if run.data.get("identity") and not timed:
        found["data"] = f"{data_name(run)} {str(run.data['identity'])[:6]}"
    found |= _measured(run, name, source)
    if name.startswith(("train/loss", "validation/loss", "loss_by_noise")):
        for key in ("objective", "schedule"):  # a loss weighs noise levels as these say
            described = settings(part(run.config, "model", key))
            if described:
                found[key] = json.dumps(described)
    if timed:
        machine = run.record.get("hardware")
        found["hardware"] = _machine(machine if isinstance(machine, dict) else {})
    # what training logs last comes before its end; an evaluation may be of an earlier checkpoint
    ended = run.record.get("finished") and not equal and (source == "training" or seen >= run.images_seen)
    found["images seen"] = "all" if ended else f"{seen:,}"
    return found


def _measured(run: Run, name: str, source: str) -> dict[str, str]:
    """The settings of the evaluation that wrote the metric, without what does not change a number."""
    head, *parts = name.split("/")
    for entry, kind, evaluator in _entries(run, "evaluation" if source == "evaluation" else "callbacks", head):
        own = {k: v for k, v in evaluator.items() if k not in {*_NO_MATTER, "_target_", "objective"}}
        if kind == "Restoration" and head == "restoration" and len(parts) > 1:
            task, method = parts[:2]
            own["operator"] = part(evaluator, "operators").get(task)
            own["method"] = part(evaluator, "methods").get(method, part(evaluator, "baselines").get(method))
        elif kind == "Restoration":
            own |= {key: evaluator.get(key) for key in ("operators", "methods")}
        if head in ("fd", "kd"):
            own.pop("n", None)  # it is in the name
        if "ema" in entry:
            own["weights"] = "raw" if entry["ema"] is None else f"ema-{entry['ema']}"
        told = settings(own).items()
        return {key: value for key, value in told if value != "null" and not key.endswith("batch_size")}
    return {}


def _is_named(key: str, name: str) -> bool:
    """Whether the number that summary.json calls `key` may be the metric `name`; see `summarize_run`."""
    head, _, whose = key.partition("/")
    last = name.rpartition("/")[2]
    if head.startswith(("fd_", "kd_")):
        return name.startswith(f"{head[:2]}/{head[3:]}") and (whose == "model") == (last not in ("gaussian", "floor"))
    if whose in ("posterior_mean", "sample", ""):
        return last in (head, f"{head}_sample", head.removesuffix("_per_sample"))
    return last == head and f"/{whose}/" in name


def _last(text: str | None) -> str:
    """A setting as it is, a class without its module."""
    if text is None:
        return "none"
    return text.rpartition(".")[2] if text.startswith("diffusion_lit.") else text


def _error(line: Mapping[str, Any], name: str) -> int | float | None:
    return next((line[name + ending] for ending in _ERRORS if name + ending in line), None)


def _machine(hardware: Mapping[str, Any]) -> str:
    cards = hardware.get("gpu")
    if isinstance(cards, list) and cards:
        return f"{len(cards)} x {cards[0]}"
    return f"{hardware.get('cpu', 'unknown')}, {hardware.get('cores', '?')} cores"
