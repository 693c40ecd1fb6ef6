"""The report as a reader's browser sees it: figures read from the DOM, pictures decoded, nothing wider than a phone."""

import re
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from tracking.synthetic import SUMMARY, make_run

from diffusion_lit.tracking.report import write_report
from tests.web.browser import CHROMIUM, SWITCHES, needs_chromium

pytestmark = needs_chromium

# The report itself has no script. The copy that the test opens says of itself what only a browser knows.
CHECK = """<script>addEventListener("load", () => {
  const images = [...document.images], charts = [...document.querySelectorAll("svg")], frame = document.documentElement;
  frame.dataset.images = images.length;
  frame.dataset.decoded = images.filter(image => image.complete && image.naturalWidth > 0).length;
  frame.dataset.charts = charts.filter(svg => svg.getBoundingClientRect().height > 100).length;
  frame.dataset.overflow = frame.scrollWidth - innerWidth;
  frame.dataset.fetched = performance.getEntriesByType("resource").filter(e => !e.name.startsWith("data:")).length;
});</script></body>"""


def browse(page: Path, *arguments: str) -> str:
    command = [
        str(CHROMIUM),
        *SWITCHES,
        "--virtual-time-budget=3000",
        f"--user-data-dir={page.parent / 'chromium'}",
        *arguments,
        page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("web")
    report = write_report(make_run(folder / "demo"), folder / "report.html")
    checked = folder / "checked.html"
    checked.write_text(report.read_text().replace("</body>", CHECK))
    return checked


@pytest.mark.parametrize("width", [1200, 500])
def test_figures_are_read_from_the_dom_and_pictures_decode(page, width):
    dom = browse(page, f"--window-size={width},1600", "--dump-dom")
    shown = dict(re.findall(r'data-metric="([^"]+)" data-value="([^"]+)"', dom))
    assert {key: float(shown[key]) for key in SUMMARY} == SUMMARY
    frame = dict(re.findall(r'data-(\w+)="(-?\d+)"', re.search(r"<html[^>]*>", dom)[0]))
    assert frame == {"images": "25", "decoded": "25", "charts": "7", "overflow": "0", "fetched": "0"}


def test_it_can_be_looked_at_on_a_phone(page):
    shot = page.with_name("phone.png")
    browse(page, "--window-size=390,1600", f"--screenshot={shot}")
    with Image.open(shot) as image:
        assert image.width == 390
        colours = image.convert("RGB").getcolors(maxcolors=1 << 24)
    # Text, bars and cards: more than a blank page or an error page has.
    assert len(colours) > 100
