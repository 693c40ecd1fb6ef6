"""The page of restored images as a reader's browser sees it."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffusion_lit.cli import main
from tests.commands.small import LIGHTNING
from tests.restoration.prior import write_prior
from tests.web.browser import needs_chromium
from tests.web.test_report_in_browser import CHECK, browse

pytestmark = [needs_chromium, pytest.mark.filterwarnings(*LIGHTNING)]


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Restored: two small images and one larger than the page shows; one failed, whose name is markup."""
    folder = tmp_path_factory.mktemp("restore page")
    run = write_prior(folder / "run")
    (folder / "in").mkdir()
    for i, size in enumerate([(8, 8), (12, 10), (400, 380)]):
        pixels = np.random.default_rng(i).integers(60, 200, size, dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "in" / f"image {i}.png")
    (folder / "in" / "<b>torn.png").write_bytes(b"")
    words = ["operator=inpaint_half", "method=mmps", "method.steps=2", "method.iterations=1", "samples=2"]
    assert main(["restore", f"checkpoint={run}", f"images={folder / 'in'}", *words, f"out={folder / 'out'}"]) == 2
    page = folder / "out" / "index.html"
    (folder / "out" / "checked.html").write_text(page.read_text().replace("</body>", CHECK))
    return folder / "out"


@pytest.mark.parametrize("width", [1200, 500])
def test_numbers_are_those_of_the_table_and_pictures_decode(out, width):
    dom = browse(out / "checked.html", f"--window-size={width},1600", "--dump-dom")
    rows = {row["image"]: row for row in json.loads((out / "table.json").read_text())}
    cells = re.findall(r'data-image="([^"]+)" data-metric="([^"]+)" data-value="([^"]+)"', dom)
    assert {image for image, *_ in cells} == {f"image {i}.png" for i in range(3)}
    assert {"psnr", "psnr_hidden", "misfit_ratio", "deviation"} <= {metric for _, metric, _ in cells}
    assert all(str(rows[image][metric]) == value for image, metric, value in cells)
    assert 'data-failed="&lt;b&gt;torn.png"' in dom
    frame = dict(re.findall(r'data-(\w+)="(-?\d+)"', re.search(r"<html[^>]*>", dom)[0]))
    assert frame == {"images": "15", "decoded": "15", "charts": "0", "overflow": "0", "fetched": "0"}


def test_pictures_lead_to_files_of_full_size_and_the_page_stays_small(out):
    text = (out / "index.html").read_text()
    links = re.findall(r'<a href="([^"#]+)"', text)
    assert len(links) == 15
    for link in links:
        assert (out / link.replace("%20", " ")).is_file()
    with Image.open(out / "mean" / "image 2.png") as image:
        assert image.size == (380, 400)
    assert text.count("data:image/jpeg") == 5
    assert len(text) < 500_000


def test_it_can_be_looked_at_on_a_phone(out):
    shot = out / "phone.png"
    browse(out / "checked.html", "--window-size=390,2600", f"--screenshot={shot}")
    with Image.open(shot) as image:
        assert image.width == 390
        assert len(image.convert("RGB").getcolors(maxcolors=1 << 24)) > 100
