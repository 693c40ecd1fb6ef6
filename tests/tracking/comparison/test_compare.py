"""The comparison as it is printed, and its page as a file."""

import csv
import io
import json
import os
import re
import signal
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from diffusion_lit.cli import main
from diffusion_lit.errors import UserError
from diffusion_lit.tracking import RunRecord
from diffusion_lit.tracking.comparison import compare, watch, write_page
from diffusion_lit.tracking.comparison.grids import album
from tracking.synthetic import SUMMARY, make_run, make_sweep, measured
from tracking.test_report import Reader

BETTER, WORSE = "Cosine", "VP"


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    make_sweep(folder, rates=(1e-3,))
    return folder


@pytest.fixture(scope="module")
def compared(sweep):
    return compare([sweep], f"schedule={WORSE}")


@pytest.fixture(scope="module")
def page(compared, tmp_path_factory):
    return write_page(compared, tmp_path_factory.mktemp("page") / "page.html").read_text()


def told(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1])


def test_prints_for_a_terminal(compared):
    text = compared.text(width=140)
    assert f"schedule={BETTER}" in text
    assert re.search(r"14\.\d+ ± 0\.\d+ dB ▲\*", text)
    assert "columns are in the page" in text
    assert max(map(len, compared.table().text(140).splitlines())) <= 140


def test_prints_markdown_latex_and_csv(compared):
    assert re.search(r"\*\*14\.\d+ ± 0\.\d+ dB ▲\*\*", compared.markdown())
    assert "| group | schedule |" in compared.markdown()
    assert r"dB $\uparrow$}" in compared.latex()
    assert r"psnr\_hidden/sample" in compared.latex()
    rows = list(csv.DictReader(io.StringIO(compared.csv())))
    row = next(r for r in rows if r["metric"] == "psnr_hidden/sample" and r["schedule"] == BETTER)
    assert (row["seeds"], row["compared"], row["images_seen"]) == ("5", "yes", "12800")
    assert float(row["low"]) < float(row["mean"]) < float(row["high"])
    assert 0.3 < float(row["difference"]) < 0.9
    assert float(row["p"]) < 0.05


def test_a_summary_that_no_line_backs_is_compared_by_the_settings_of_the_evaluation(tmp_path):
    folders = [make_run(tmp_path / f"n{n}", pictures=False, **measured(n)) for n in (64, 16)]
    found = compare(folders)
    assert len(found.groups) == 1  # of the same seed, so one of them does not count
    assert any("a second run of seed 0" in text for text in found.warnings())
    folders = [make_run(tmp_path / f"s{n}", pictures=False, seed=n, **measured(n)) for n in (64, 16)]
    found = compare(folders)
    [cell] = next(one for one in found.scores.columns if one.key == "psnr_hidden/sample").cells
    assert len(cell.seeds) == 1
    assert "left out: n" in cell.notes[0]


def test_the_page_fetches_nothing_and_forbids_it(page):
    reader = Reader(page)
    assert not [target for target in reader.fetched if not target.startswith(("data:", "#"))]
    assert not {"link", "iframe", "object"} & set(reader.tags)
    assert "default-src 'none'" in page
    assert not re.search(r"@import|url\((?!#)", page)


def test_the_page_has_every_table(page, compared):
    data = told(page)
    assert [group["name"] for group in data["groups"]] == ["schedule=Cosine", "schedule=VP"]
    psnr = next(one for one in data["tables"]["last"] if one["key"] == "psnr_hidden/sample")
    assert psnr["marks"] == ["b-", "+b"]
    assert psnr["best"] == [[0], [0]]
    assert psnr["tests"][1]["0"][4] is True  # five common seeds: pairs
    assert {"validation/loss/ema-0.05", "train/loss"} <= {curve["name"] for curve in data["curves"]}
    for words in ("1.04 M", "4 min 11 s", "beta_max=20", "10 finished"):
        assert words in page
    assert str(next(c for c in compared.scores.columns if c.key == "fd_alex/model").cells[0].mean) in page


def test_everything_is_escaped(tmp_path):
    bad = "</script><script>alert('&')</script>"
    folders = [
        make_run(tmp_path / f"run{i}", pictures=False, task_name=bad, seed=i, tags=[bad], x=bad * i) for i in range(2)
    ]
    RunRecord(folders[0]).write_summary({f"psnr/{bad.replace('/', '')}": 1.0})
    page = write_page(compare(folders), tmp_path / "page.html").read_text()
    assert Reader(page).tags.count("script") == 2
    assert "<script>alert" not in page
    assert bad in json.dumps(told(page))


def test_pictures_are_kept_once_and_rows_are_the_same_images(compared):
    found = album(compared.runs, compared.groups)
    assert [entry["g"] for entry in found.samples] == [0, 1]
    assert [compared.runs[entry["run"]].seed for entry in found.samples] == [0, 0]
    assert found.samples[0]["last"] == 12_800
    panel = found.restorations[0]
    assert (panel["task"], panel["method"], panel["ids"]) == ("box12", "dps", [3, 14, 15, 92])
    one, two = (entry["at"][12_800] for entry in panel["runs"])
    assert one[:2] == two[:2]  # truth and measurement
    assert not set(one[2:]) & set(two[2:])
    assert (found.pictures[one[0]]["width"], found.pictures[one[0]]["height"]) == (28, 4 * 30 - 2)
    assert found.times[-1] == 12_800
    assert len(found.times) == 4


def test_other_images_make_another_panel(tmp_path):
    folders = [make_run(tmp_path / f"run{i}", x=i) for i in range(2)]
    for path in folders[1].glob("restorations/*/box12--dps.json"):
        path.write_text(path.read_text().replace("92", "93"))
    found = compare(folders)
    panels = album(found.runs, found.groups).restorations
    assert [len(p["runs"]) for p in panels if p["task"] == "box12" and p["method"] == "dps"] == [1, 1]
    assert all(len(p["runs"]) == 2 for p in panels if p["method"] == "mmps")


def test_pictures_share_a_budget(compared):
    roomy, tight = (album(compared.runs, compared.groups, budget) for budget in (2_000_000, 150_000))
    sizes = [sum(len(picture["uri"]) for picture in found.pictures.values()) for found in (roomy, tight)]
    assert sizes[0] < 2_000_000
    assert sizes[1] < 165_000
    assert len(tight.times) < len(roomy.times)
    assert any("webp" in picture["uri"][:20] for picture in tight.pictures.values())


def test_a_damaged_picture_is_named_and_costs_no_page(tmp_path):
    folder = make_run(tmp_path / "run")
    (folder / "samples" / "000012800.png").write_bytes(b"no picture")
    (folder / "restorations" / "000012800" / "box12--dps.json").write_text("{")
    Image.new("L", (4, 4)).save(folder / "restorations" / "000012800" / "box12--new.png")
    page = write_page(compare([folder]), tmp_path / "page.html").read_text()
    assert "000012800.png" in page
    assert "box12--dps.png" in page
    assert "does not name its columns" in page


def test_a_page_of_forty_runs_stays_below_five_megabytes(sweep, tmp_path):
    for i in range(40):
        source = sweep / f"run-{i % 2}-0"
        folder = tmp_path / f"run{i}"
        folder.mkdir()
        for file in source.iterdir():
            (folder / file.name).symlink_to(file)
        (folder / "config.yaml").unlink()
        (folder / "config.yaml").write_text((source / "config.yaml").read_text() + f"\nvariant: {i}\n")
    found = compare([tmp_path])
    assert len(found.groups) == 40
    assert write_page(found, tmp_path / "page.html").stat().st_size < 5_000_000


def test_the_command(sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["compare", str(sweep), f"baseline={WORSE}"]) == 0
    shown = capsys.readouterr().out
    assert "▲" in shown
    assert shown.rstrip().endswith("compare.html")
    Path("compare.html").unlink()
    assert main(["compare", f"{sweep}/run-*", "format=markdown"]) == 0
    assert capsys.readouterr().out.startswith("| group | seeds |")
    assert not Path("compare.html").exists()
    for words, said in {
        ("format=pdf",): "text, markdown, latex, csv",
        ("baseline=linear",): "names 0 of the groups, which are: schedule=Cosine",
        ("evry=3",): "unknown evry=3",
        ("--wait",): "unknown --wait",
        ("every=0",): "1 or more",
    }.items():
        assert main(["compare", str(sweep), *words]) == 2
        assert said in capsys.readouterr().err
    assert main(["compare"]) == 2


def test_watching_ends_in_good_order(sweep, tmp_path, monkeypatch, capsys):
    def interrupted(seconds: float) -> None:
        assert seconds == 7.0
        assert '"every":7' in out.read_text()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    out, before = tmp_path / "page.html", signal.getsignal(signal.SIGTERM)
    module = sys.modules[watch.__module__]
    monkeypatch.setattr(module, "time", SimpleNamespace(time=time.time, sleep=interrupted))
    try:
        assert main(["compare", str(sweep), "--watch", "every=7", f"out={out}"]) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert "10 finished" in capsys.readouterr().out
    assert '"every":0' in out.read_text()


def test_no_run_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no run was started here"):
        compare([tmp_path])
    assert SUMMARY
