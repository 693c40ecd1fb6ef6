"""Dashboards in code: a workspace of an experiment's runs and a report of an ablation, as objects of wandb-workspaces.

Building them touches no network; their `save()` does. What they show follows from the configuration: the names of the
metrics and pictures are those that its evaluations log. Needs the extra [dashboards].
"""

# pyright: reportPrivateImportUsage=false
# (wandb-workspaces documents `wr.Report` and its kin, and does not list them in __all__)

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from diffusion_lit.tracking.words import plain_words, quantity

__all__ = ["Board", "report", "spec", "workspace"]

_X = "images_seen"


@dataclass(frozen=True)
class Board:
    """What a dashboard is of.

    Args:
        config: the resolved configuration of one of the runs; its task_name finds them all.
        name: of the experiment.
        title, source: what it is about and where that is from.
        command: how its runs are made.
        results: its tables, in Markdown.
        axes: axis -> the keys of the configuration that tell its labels apart.
    """

    config: Mapping[str, Any]
    name: str
    title: str = ""
    source: str = ""
    command: str = ""
    results: str = ""
    axes: Mapping[str, Sequence[str]] = field(default_factory=dict)


def workspace(board: Board, entity: str, project: str) -> ws.Workspace:
    """Return the workspace of an experiment: all its metrics over images seen, its seeds drawn as one with their range.

    Args:
        board: the experiment.
        entity, project: where it will be saved.
    """
    sections = [ws.Section(name=name, panels=panels, is_open=True) for name, panels in _sections(board.config).items()]
    groups: list[Any] = [ws.Config(key) for keys in board.axes.values() for key in keys]
    return ws.Workspace(
        entity=entity,
        project=project,
        name=board.name,
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis=_X, ignore_outliers=False, max_runs=100),
        runset_settings=ws.RunsetSettings(
            filters=_filter(board), groupby=groups or [ws.Metric("Group")], pinned_columns=_columns(board)
        ),
    )


def report(board: Board, entity: str, project: str) -> wr.Report:
    """Return the report of an ablation: its tables, and for each axis the curves of its labels, seeds together.

    Args:
        board: the experiment.
        entity, project: where it will be saved, and where its runs are.
    """
    blocks: list[Any] = [wr.P(board.source)] if board.source else []
    if board.command:
        blocks.append(wr.MarkdownBlock(f"```bash\n{board.command}\n```"))
    if board.results:
        blocks += [wr.H2("Results"), wr.MarkdownBlock(board.results)]
    for axis, keys in board.axes.items():
        # without a project it is the report's; with one, wandb-workspaces asks the server for it even to print it
        runs = wr.Runset(name=axis, filters=_filter(board), groupby=[f"config.{key}" for key in keys])
        blocks += [
            wr.H2(axis[:1].upper() + axis[1:]),
            wr.P(f"Runs by {', '.join(keys)}; a band is the range over seeds and the other axes."),
            wr.PanelGrid(runsets=[runs], panels=_compared(board.config)),
        ]
    return wr.Report(entity=entity, project=project, title=board.title or board.name, blocks=blocks, width="fluid")


def spec(made: ws.Workspace | wr.Report) -> dict[str, Any]:
    """Return what W&B would be sent, as plain containers."""
    return made._to_model().model_dump(by_alias=True, exclude_none=True, mode="json")


def _sections(config: Mapping[str, Any]) -> dict[str, list[Any]]:
    """Section -> panels, of what the callbacks of `config` log."""
    sections: dict[str, list[Any]] = {
        "Training": [
            _curve("train/loss", log=True),
            _curve("train/learning_rate"),
            _curve("train/images_per_second"),
            _curve("attempt"),
        ]
    }
    for task, methods in _restorations(config).items():
        pictures = [f"pictures/{task}--{method}" for method in methods]
        tables = [wr.WeavePanelSummaryTable(table_name=f"tables/{task}--{method}") for method in methods]
        sections[f"Restoration: {plain_words(task)}"] = [
            wr.MediaBrowser(title=plain_words(task), media_keys=pictures),
            *_scores(task),
            *tables,
        ]
    evaluators = {_kind(callback) for callback in _evaluators(config)}
    if "Sampling" in evaluators:
        sections["Samples"] = [
            wr.MediaBrowser(title="samples", media_keys=["pictures/samples"]),
            _curves("fd/"),
            _curves("kd/"),
        ]
    if "NoiseLevels" in evaluators:
        sections["Loss by noise level"] = [_curves("loss_by_noise/", log=True)]
    return sections


def _compared(config: Mapping[str, Any]) -> list[Any]:
    """The panels in which the labels of an axis are compared."""
    evaluators = {_kind(callback) for callback in _evaluators(config)}
    panels: list[Any] = [_curve("train/loss", log=True), _curve("train/images_per_second")]
    if "Sampling" in evaluators:
        panels.append(_curves("fd/"))
    for task in _restorations(config):
        panels += _scores(task)
    return [_placed(panel, number) for number, panel in enumerate(panels)]


def _placed(panel: Any, number: int) -> Any:
    """Two panels a row of the report's 24 columns."""
    panel.layout = wr.Layout(x=12 * (number % 2), y=8 * (number // 2), w=12, h=8)
    return panel


def _scores(task: str) -> list[Any]:
    return [_curves(f"restoration/{task}/", score) for score in ("psnr", "lpips", "misfit_ratio")]


def _curve(name: str, log: bool = False) -> wr.LinePlot:
    return wr.LinePlot(title=_title(name), x=_X, y=[name], log_y=log, **_BANDS)


def _curves(first: str, last: str = "", log: bool = False) -> wr.LinePlot:
    """All metrics whose names begin and end so; between, they carry what they depend on."""
    title = _title(last or first.rstrip("/"))
    return wr.LinePlot(title=title, x=_X, metric_regex=f"^{first}.*{f'/{last}' if last else ''}$", log_y=log, **_BANDS)


_BANDS: dict[str, Any] = {"groupby_aggfunc": "mean", "groupby_rangefunc": "minmax"}


def _title(name: str) -> str:
    what = quantity(name)
    goal = {"high": ", higher is better", "low": ", lower is better", "one": ", 1 is right"}.get(what.goal, "")
    return f"{what.title}{f', {what.unit}' if what.unit in ('dB', 's') else ''}{goal}"


def _filter(board: Board) -> str:
    return f"Metric('Group') = '{board.config['task_name']}'"  # see `upload`: the group is the task_name


def _columns(board: Board) -> list[str]:
    keys = [key for keys in board.axes.values() for key in keys]
    # W&B stores a key of the configuration with .value after its first part
    parts = [key.partition(".") for key in (*keys, "seed", "max_images")]
    return [f"config:{first}.value{dot}{rest}" for first, dot, rest in parts]


def _evaluators(config: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    callbacks = (config.get("callbacks") or {}).values()
    return [
        callback["evaluator"] for callback in callbacks if isinstance(callback, Mapping) and "evaluator" in callback
    ]


def _kind(evaluator: Mapping[str, Any]) -> str:
    return str(evaluator["_target_"]).rsplit(".", 1)[-1]


def _restorations(config: Mapping[str, Any]) -> dict[str, list[str]]:
    """Task -> methods."""
    found = [evaluator for evaluator in _evaluators(config) if _kind(evaluator) == "Restoration"]
    return {task: list(evaluator["methods"]) for evaluator in found for task in evaluator["operators"]}
