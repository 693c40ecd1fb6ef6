import json
import re
from html.parser import HTMLParser

import pytest

from diffusion_lit.errors import UserError
from diffusion_lit.tracking import RunRecord
from diffusion_lit.tracking.pictures import restorations, sample_grids, spread
from diffusion_lit.tracking.report import write_report
from tracking.synthetic import SUMMARY, make_run


class Reader(HTMLParser):
    """Collect the figures, the marked-up numbers and everything that a page would fetch."""

    def __init__(self, text):
        super().__init__()
        self.numbers, self.fetched, self.tags = {}, [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        self.fetched += [value for key, value in attributes if key in ("src", "href", "xlink:href")]
        if "data-metric" in found:
            self.numbers[found.get("data-run"), found["data-metric"]] = found["data-value"]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = make_run(tmp_path_factory.mktemp("runs") / "demo")
    return write_report(folder, folder / "report.html").read_text()


def test_every_number_of_the_summary_and_the_restorations_is_there(page):
    numbers = Reader(page).numbers
    assert {key: float(numbers["demo", key]) for key in SUMMARY} == SUMMARY
    assert float(numbers["demo", "restoration/box12/mmps/misfit"]) == 25.4
    assert "14.12 dB" in page
    assert "25.40 / 25.10 = 1.01" in page


def test_the_page_fetches_nothing(page):
    assert all(target.startswith(("data:image/png;base64,", "#")) for target in Reader(page).fetched)
    assert not {"script", "link", "iframe", "object"} & set(Reader(page).tags)
    assert not re.search(r"@import|url\((?!#)", page)


def test_pictures_and_curves_are_there(page):
    # 5 sample grids and 5 times 2 operators x 2 methods of restorations; training and validation loss, loss by noise
    # level, Fréchet distance, hidden PSNR and LPIPS, and images per second.
    tags = Reader(page).tags
    assert tags.count("img") == 5 + 20
    assert tags.count("svg") == 7
    for words in ("Earlier, after 10,240 images", "std. dev.", "UNet", "4321", "weighting: edm", "seed 0"):
        assert words in page


def test_everything_is_escaped(tmp_path):
    bad = "<script>alert('&')</script>"
    folder = make_run(tmp_path / "run", tags=[bad], task_name=bad)
    record = RunRecord(folder)
    record.write_summary({f"psnr/{bad.replace('/', '')}": 1.0})
    with record.folder.joinpath("metrics.jsonl").open("a") as file:
        file.write(json.dumps({"images_seen": 12_801, f"fd/x/{bad}": 1.0, f"train/{bad}": 2.0}) + "\n")
    page = write_report(folder, tmp_path / "report.html").read_text()
    assert "script" not in Reader(page).tags
    assert "&lt;script&gt;" in page


def test_a_run_that_has_only_begun_has_a_page(tmp_path):
    RunRecord(tmp_path / "new").start({"seed": 0})
    page = write_report(tmp_path / "new", tmp_path / "report.html").read_text()
    assert "not finished" in page
    assert "restoration" not in page
    assert "img" not in Reader(page).tags


def test_a_damaged_picture_is_named(tmp_path):
    folder = make_run(tmp_path / "run")
    (folder / "samples" / "000012800.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"000012800\.png"):
        write_report(folder, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_pictures_come_in_the_order_of_training(tmp_path):
    folder = make_run(tmp_path / "run")
    assert [grid.images_seen for grid in sample_grids(folder)] == [2560, 5120, 7680, 10_240, 12_800]
    panels = restorations(folder)
    assert next(iter(panels)) == 12_800
    assert [p.about["method"] for p in panels[2560]] == ["dps", "mmps", "dps", "mmps"]
    assert spread(range(100), 4) == [0, 33, 66, 99]
