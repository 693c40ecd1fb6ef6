"""A synthetic experiment, whose numbers are arithmetic: what is run, what is kept, what is said."""

import json
from pathlib import Path

import pytest

from diffusion_lit.commands.reproduce import run
from diffusion_lit.errors import UserError
from diffusion_lit.reproduction import Experiment

DECLARED = """
title: Sums
source: nobody
axes:
  left: {one: {x: 1}, two: {x: 2}}
  right: {ten: {y: 10}, "20": {y: 20}}
measure: {factor: 1}
seeds: [0, 1]
tables:
  - {title: Sum, rows: left, columns: right, value: sum, format: .1f, best: min, published: {one: {ten: 11.5}}}
tiny:
  measure: {factor: 100}
  seeds: [5]
  axes: {left: [two]}
"""
MEASURE = """
from pathlib import Path

def measure(seed, *, x, y, factor):
    with Path("calls").open("a") as file:
        file.write(f"{x} {y} {seed}\\n")
    if Path("stop").exists() and x == 2:
        raise KeyboardInterrupt
    return {"sum": factor * (x + y) + seed}

def figure(results, path):
    path.write_text(str(results.mean("sum")))
"""
CLAIMS = """
from diffusion_lit.reproduction import Claim

def claims(results):
    yield Claim("one and ten make eleven and a half", "arithmetic", 
                lambda: results.mean("sum", left="one", right="ten"), expected=11.5, tolerance=1e-9)
    yield Claim("two and twenty make little", "hope", lambda: results.mean("sum", left="two", right="20"), at_most=3)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "experiments" / "sums"
    folder.mkdir(parents=True)
    for name, text in {"experiment.yaml": DECLARED, "measure.py": MEASURE, "claims.py": CLAIMS}.items():
        (folder / name).write_text(text)
    return folder


def calls() -> list[str]:
    return Path("calls").read_text().splitlines() if Path("calls").exists() else []


def test_it_runs_what_is_missing_and_writes_tables_and_ledger(folder, capsys):
    assert run(["sums"]) == 1  # a claim fails, and no reason is given
    assert len(calls()) == 8
    assert (folder / "table.md").read_text() == (
        "**Sum**\n\n| left | ten | 20 |\n| --- | ---: | ---: |\n"
        "| one | **11.5 ± 0.7 [11.5]** | **21.5 ± 0.7** |\n| two | 12.5 ± 0.7 | 22.5 ± 0.7 |\n"
    )
    assert r"one & \textbf{11.5 $\pm$ 0.7 [11.5]} & \textbf{21.5 $\pm$ 0.7} \\" in (folder / "table.tex").read_text()
    assert "<td><b>11.5 ± 0.7 [11.5]</b></td>" in (folder / "table.html").read_text()
    assert (folder / "figure.png").read_text() == "17.0"
    first, second = json.loads((folder / "ledger.json").read_text())
    assert (first["holds"], first["obtained"], first["bound"]) == (True, 11.5, "11.5 +- 1e-09")
    assert (second["holds"], second["seeds"], second["command"]) == (False, [0, 1], "diffusion-lit reproduce sums")
    assert "FAILS" in capsys.readouterr().out
    run(["sums"])
    assert len(calls()) == 8, "nothing was missing"


def test_a_fresh_clone_only_prints(folder):
    run(["sums"])
    for path in sorted(Path("runs").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    run(["sums"])
    assert len(calls()) == 8
    run(["sums", "--again"])
    assert len(calls()) == 16


def test_an_interrupted_command_goes_on(folder):
    Path("stop").touch()
    with pytest.raises(KeyboardInterrupt):
        run(["sums"])
    assert len(calls()) == 5
    Path("stop").unlink()
    run(["sums"])
    assert len(calls()) == 9, "the four that were measured are kept"


def test_a_changed_configuration_makes_stale_cells_that_are_named_and_run_again(folder, capsys):
    run(["sums"])
    (folder / "experiment.yaml").write_text(DECLARED.replace("two: {x: 2}", "two: {x: 3}"))
    capsys.readouterr()
    assert run(["sums", "--check"]) == 1
    said = capsys.readouterr().out
    assert said.count("stale: left two") == 4
    assert "12.5 ± 0.7†" in said
    assert len(calls()) == 8
    run(["sums"])
    assert len(calls()) == 12


def test_missing_cells_are_named_and_their_claims_not_measured(folder, capsys):
    assert run(["sums", "--check"]) == 1
    said = capsys.readouterr().out
    assert said.count("missing: ") == 8
    assert said.count("not measured") == 2
    assert not (folder / "table.md").exists()


def test_a_failure_with_a_reason_stays_in_the_ledger_and_is_forgiven(folder):
    (folder / "claims.py").write_text(CLAIMS.replace("at_most=3", "at_most=3, reason='twenty is not little'"))
    assert run(["sums"]) == 0
    assert json.loads((folder / "ledger.json").read_text())[1]["reason"] == "twenty is not little"


def test_elements_of_an_array_are_collected(folder):
    for index in range(8):
        assert run(["sums", "--entry", str(index)]) == 0
    assert len(calls()) == 8
    run(["sums"])
    assert len(calls()) == 8
    with pytest.raises(UserError, match="0 to 7"):
        run(["sums", "--entry", "8"])


def test_the_tiny_twin_leaves_the_folder_alone(folder):
    before = sorted(folder.iterdir())
    assert run(["sums", "--tiny"]) == 0
    assert calls() == ["2 10 5", "2 20 5"]
    assert [path for path in sorted(folder.iterdir()) if path.name != "__pycache__"] == before
    assert "1205.0" in Path("runs/experiments/sums-tiny/table.md").read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("title: Sums", "titel: Sums", "unknown key titel"),
        ("rows: left", "rows: lefft", "unknown axis .*lefft.*left"),
        ("value: sum", "valu: sum", "unknown key of a table valu"),
        ("left: [two]", "left: [three]", "unknown label of left in tiny three"),
        ("source: nobody\n", "", "no source"),
        ("axes:", "axes: [", "not YAML"),
    ],
)
def test_a_mistake_in_the_declaration_is_named(folder, old, new, message):
    (folder / "experiment.yaml").write_text(DECLARED.replace(old, new))
    with pytest.raises(UserError, match=message):
        run(["sums"])


def test_bad_arguments_name_the_experiments(folder):
    for words in (["sms"], [], ["sums", "--tyni"], ["sums", "more"]):
        with pytest.raises(UserError, match="sums"):
            run(words)
    with pytest.raises(UserError, match="--entry x"):
        run(["sums", "--entry", "x"])
    (folder / "claims.py").write_text(CLAIMS.replace(", at_most=3", ""))
    with pytest.raises(UserError, match="says nothing"):
        run(["sums"])


def test_asking_for_entries_that_do_not_exist_names_those_that_do(folder):
    (folder / "claims.py").write_text(CLAIMS.replace('left="one"', 'left="eleven"'))
    with pytest.raises(UserError, match=r"eleven.*one.*two"):
        run(["sums"])


def test_entries_of_one_training_share_its_run(folder):
    (folder / "experiment.yaml").write_text(
        DECLARED.replace(
            "seeds: [0, 1]",
            "seeds: [0]\ntrain: [experiment=toy, max_images=1024, model.denoiser.network.width=8]",
        )
    )
    (folder / "measure.py").write_text(
        "import diffusion_lit\n"
        "def measure(seed, *, x, y, factor, run):\n"
        "    return {'sum': x + y, 'seen': sum(p.numel() for p in diffusion_lit.load(run).parameters())}\n"
    )
    assert run(["sums"]) == 1
    [run_folder] = [path.parent for path in Path("runs").rglob("run.json")]
    assert json.loads((run_folder / "run.json").read_text())["attempts"][0]["from_images_seen"] == 0
    results = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert len(results) == 4
    assert all(r["command"].startswith("diffusion-lit train task_name=sums experiment=toy") for r in results)


def test_only_entries_whose_labels_train_are_trained(folder):
    (folder / "experiment.yaml").write_text(
        DECLARED.replace("two: {x: 2}", "two: {train: [experiment=toy], measure: {x: 2}}").replace(
            "tiny:", "tiny:\n  train: [max_images=1024]"
        )
    )
    experiment = Experiment.read(folder)
    trains = {entry.labels["left"]: entry.train for entry in experiment.entries()}
    assert trains == {"one": None, "two": ("task_name=sums", "experiment=toy")}
    assert experiment.twin().entries()[0].train == ("task_name=sums", "experiment=toy", "max_images=1024")


def test_an_axis_added_later_keeps_the_numbers_and_names_their_place(folder):
    assert run(["sums"]) == 1  # one of the claims is false
    (folder / "experiment.yaml").write_text(DECLARED.replace("axes:", "axes:\n  only: {this: {}}", 1))
    before = len(calls())
    assert run(["sums"]) == 1
    assert len(calls()) == before
    results = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    assert {result["labels"]["only"] for result in results} == {"this"}
