"""diffusion-lit dashboard NAME entity=TEAM [project=NAME] [--dry-run]

Publish W&B dashboards: of an experiment, a workspace of its runs and a report with its tables, each axis compared; of
a training, a workspace. Each call makes new ones and prints where they are. `pip install diffusion_lit[dashboards]`.

    diffusion-lit dashboard checkerboard entity=team          experiments/checkerboard
    diffusion-lit dashboard experiment=mnist entity=team      the runs of `diffusion-lit train experiment=mnist`
    diffusion-lit dashboard checkerboard --dry-run            print what would be sent, as JSON; no network
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from diffusion_lit.errors import UserError

if TYPE_CHECKING:
    from diffusion_lit.reproduction import Entry, Experiment
    from diffusion_lit.tracking.dashboards import Board

__all__ = ["board", "run"]


def run(words: list[str]) -> int:
    from diffusion_lit.configuration import plain, run_config, split_arguments

    dry = "--dry-run" in words
    names = [word for word in words if "=" not in word and word != "--dry-run"]
    defaults = {"entity": "", "project": "diffusion_lit"}
    arguments, overrides = split_arguments([word for word in words if "=" in word], defaults)
    if len(names) + bool(overrides) != 1:
        raise UserError("dashboard: expected an experiment, such as checkerboard, or one of train, experiment=mnist")
    if not arguments["entity"] and not dry:
        raise UserError("dashboard: where to? entity=TEAM, or --dry-run prints what would be sent")
    place = arguments["entity"] or "entity", arguments["project"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # wandb-workspaces is written for an older pydantic
            from diffusion_lit.tracking.dashboards import Board, report, spec, workspace
    except ImportError as error:
        raise UserError(f"dashboard: needs {error.name}; pip install diffusion_lit[dashboards]") from error

    made = []
    if overrides:
        config = plain(run_config(overrides))
        made.append(workspace(Board(config, config["task_name"]), *place))
    else:
        from diffusion_lit.reproduction import Experiment

        shown = board(Experiment.read(Path("experiments") / names[0]))
        made += [workspace(shown, *place)] if shown.config else []
        made.append(report(shown, *place))
    if dry:
        print(json.dumps([spec(each) for each in made], indent=2))
        return 0
    for each in made:
        try:
            each.save()
        except Exception as error:  # W&B's own, the network's: there is no list of them
            raise UserError(
                f"{type(each).__name__.lower()}: could not be saved ({' '.join(str(error).split())})"
            ) from error
        print(each.url)
    return 0


def board(experiment: "Experiment") -> "Board":
    """Return what the dashboards of an experiment show; one that trains nothing has no config, and only its tables."""
    from diffusion_lit.configuration import plain, run_config
    from diffusion_lit.tracking.dashboards import Board

    entries = experiment.entries()
    trained = [entry for entry in entries if entry.train is not None]
    tables = experiment.folder / "table.md"
    config = plain(run_config(trained[0].overrides)) if trained else {}
    axes: dict[str, list[str]] = {}
    for axis in experiment.axes if trained else ():
        # one entry for each label, all alike but for it
        alike = [e for e in trained if e.seed == trained[0].seed and _others(e, axis) == _others(trained[0], axis)]
        if keys := _telling(alike):
            axes[axis] = keys
    return Board(
        config=config,
        name=experiment.folder.name,
        title=experiment.title,
        source=experiment.source,
        command=f"diffusion-lit reproduce {experiment.folder.name}",
        results=tables.read_text(encoding="utf-8") if tables.exists() else "",
        axes=axes,
    )


def _telling(entries: "Sequence[Entry]") -> list[str]:
    """The fewest keys, chosen one after the other, whose values tell the entries apart as far as any do.

    Of keys that tell as much, the one that the labels' overrides name first is the best, by itself or as a group; those
    of the callbacks and evaluations, which repeat others, come last.
    """
    from diffusion_lit.configuration import plain, run_config
    from diffusion_lit.tracking.identity import canonical

    found = [canonical(plain(run_config(entry.overrides))) for entry in entries]
    words = [word.partition("=")[0].lstrip("+").replace("/", ".") for entry in entries for word in entry.train or ()]
    repeated = ("callbacks", "evaluation", "every", "data.datamodule", "model.module")

    def rank(key: str) -> tuple[bool, int, int, str]:
        place = next((i for i, word in enumerate(words) if f"{key}.".startswith(f"{word}.")), len(words))
        return key.startswith(repeated), place, key.count("."), key

    keys = sorted({key for one in found for key in one if not key.endswith("folder")}, key=rank)
    chosen: list[str] = []

    def apart(keys: list[str]) -> int:
        return len({tuple(one.get(key) for key in keys) for one in found})

    while keys:
        best = max(keys, key=lambda key: apart([*chosen, key]))
        if apart([*chosen, best]) == apart(chosen):
            break
        chosen.append(best)
    return chosen


def _others(entry: "Entry", axis: str) -> dict[str, str]:
    return {name: label for name, label in entry.labels.items() if name != axis}
