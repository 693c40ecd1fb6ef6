"""Dashboards as objects: what W&B would be sent, without a network."""

import json
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from diffusion_lit.cli import main

# wandb-workspaces is written for an older pydantic
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning:pydantic.*")
GOLDEN = Path(__file__).parent / "golden"
EXPERIMENT = """
title: Width and weighting
source: nobody, 2026
train: [experiment=demo]
axes:
  width: {narrow: [model.denoiser.network.width=16], wide: [model.denoiser.network.width=32]}
  noise: {curved: [model/schedule=edm], straight: [model/schedule=rectified]}
  measured: {once: {n: 1}, twice: {n: 2}}
seeds: [0, 1]
tables:
  - {title: FD, rows: width, columns: noise, value: fd}
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The workspace and the report that `dashboard NAME --dry-run` prints."""
    root = tmp_path_factory.mktemp("root")
    folder = root / "experiments" / "width_and_noise"
    folder.mkdir(parents=True)
    (folder / "experiment.yaml").write_text(EXPERIMENT)
    (folder / "table.md").write_text("| width | FD |\n|---|---|\n| narrow | 2.1 |\n")
    with chdir(root):
        return documents("width_and_noise", "entity=team", "project=digits")


def documents(*words: str) -> list[dict[str, Any]]:
    with redirect_stdout(StringIO()) as said:
        assert main(["dashboard", *words, "--dry-run"]) == 0
    return [named(made) for made in json.loads(said.getvalue())]


def named(content: Any) -> Any:
    """Without the ids that wandb-workspaces draws."""
    if isinstance(content, dict):
        return {key: "" if key in ("__id__", "id") else named(value) for key, value in content.items()}
    return [named(value) for value in content] if isinstance(content, list) else content


@pytest.mark.parametrize(("number", "name"), [(0, "workspace"), (1, "report")], ids=["workspace", "report"])
def test_what_would_be_sent_is_as_it_was(printed, number, name):
    path = GOLDEN / f"{name}.json"
    text = json.dumps(printed[number], indent=1) + "\n"
    assert text == path.read_text(), f"if this is meant: write the new one to {path}"


def test_a_workspace_shows_all_that_a_training_logs_over_images_seen(printed):
    spec = printed[0]["spec"]["section"]
    panels = [panel for section in spec["panelBankConfig"]["sections"] for panel in section["panels"]]
    plots = [panel["config"] for panel in panels if panel["viewType"] == "Run History Line Plot"]
    assert {plot["xAxis"] for plot in plots} == {"images_seen"}
    shown = {name for plot in plots for name in (*plot["metrics"], plot.get("metricRegex", ""))}
    assert {"train/loss", "attempt", "^restoration/box12/.*/psnr$", "^loss_by_noise/.*$", "^fd/.*$"} <= shown
    media = {key for panel in panels for key in panel["config"].get("mediaKeys", [])}
    assert media == {"pictures/samples", "pictures/box12--pigdm"}
    [runs] = spec["runSets"]
    assert [key["name"] for key in runs["grouping"]] == [
        "model.value.denoiser.network.width",
        "model.value.schedule._target_",
    ]
    assert '"width_and_noise"' in json.dumps(runs["filters"])


def test_a_report_compares_each_axis_that_trains_and_shows_the_table(printed):
    blocks = printed[1]["spec"]["blocks"]
    grids = [block["metadata"]["runSets"][0] for block in blocks if block["type"] == "panel-grid"]
    assert [grid["name"] for grid in grids] == ["width", "noise"]
    assert "| narrow | 2.1 |" in json.dumps(blocks)


def test_a_training_has_a_workspace_by_its_task_name():
    [made] = documents("experiment=demo")
    assert made["displayName"] == "demo"


def test_an_experiment_that_trains_nothing_has_a_report_only(tmp_path, monkeypatch):
    folder = tmp_path / "experiments" / "measured"
    folder.mkdir(parents=True)
    declared = (
        "title: a\nsource: b\naxes: {n: {one: {n: 1}}}\ntables: [{title: t, rows: n, columns: metrics, value: x}]\n"
    )
    (folder / "experiment.yaml").write_text(declared)
    monkeypatch.chdir(tmp_path)
    [made] = documents("measured")
    assert made["displayName"] == "a"


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "expected an experiment"),
        (["checkerboard", "seed=1"], "expected an experiment"),
        (["checkerboard"], "entity=TEAM"),
        (["no_such_experiment", "--dry-run"], "no_such_experiment"),
    ],
)
def test_mistakes_are_told(capsys, words, reason):
    assert main(["dashboard", *words]) == 2
    assert reason in capsys.readouterr().err
