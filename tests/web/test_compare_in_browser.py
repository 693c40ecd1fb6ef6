"""The comparison as a reader uses it: real clicks in a headless Chromium, on the file itself."""

import json
import shutil

import pytest
from PIL import Image
from tracking.synthetic import make_run, make_sweep

from diffusion_lit.tracking import lines
from diffusion_lit.tracking.comparison import compare, watch, write_page
from web.browser import Browser, needs_chromium

pytestmark = needs_chromium
COSINE, LINEAR = "schedule=Cosine", "schedule=VP"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two groups of five seeds, and a run that is not finished."""
    folder = tmp_path_factory.mktemp("runs")
    make_sweep(folder, rates=(1e-3,))
    going = folder / "run-1-4"
    text = going.joinpath("metrics.jsonl").read_text().splitlines()
    going.joinpath("metrics.jsonl").write_text("\n".join(text[:66]) + "\n")
    going.joinpath("summary.json").unlink()
    record = going.joinpath("run.json")
    told = json.loads(record.read_text()) | {"finished": None}
    told["attempts"][-1]["ended"] = None
    record.write_text(json.dumps(told))
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture(scope="module")
def file(runs, tmp_path_factory):
    return write_page(compare([runs]), tmp_path_factory.mktemp("page") / "page.html")


@pytest.fixture
def page(browser, file):
    """The page, opened anew; what it does in a test must leave no word in the console and fetch nothing."""
    browser.open(file)
    yield browser
    assert browser.said == []
    assert browser.fetched == [file.as_uri()]


def rows(page, table="numbers-last"):
    """The groups that a table shows, in its order."""
    script = f"all('#{table} tbody').filter(b => b.offsetParent).map(b => data.groups[b.dataset.g].name)"
    return page.run(script)


def drawn(page):
    """The groups that the first chart shows."""
    return page.run("[...new Set(all('#charts figure:first-child path.mean').map(p => data.groups[p.dataset.g].name))]")


def test_every_figure_of_the_table_is_there_and_nothing_is_wider_than_the_page(page, file, runs):
    mean = page.run('document.querySelector(\'tbody[data-g="0"] td[data-metric="psnr_hidden/sample"]\').dataset.value')
    found = next(c for c in compare([runs]).scores.columns if c.key == "psnr_hidden/sample")
    assert float(mean) == found.cells[0].mean
    page.open(file, width=420, phone=True)
    assert page.run("document.documentElement.scrollWidth - innerWidth") == 0


def test_sorting_by_a_column(page):
    assert rows(page) == [COSINE, LINEAR]
    head = "#numbers-last th:nth-child(2) button"
    order = {}
    for _ in range(3):
        page.click(head)
        order[page.run(f"document.querySelector({head!r}).parentElement.ariaSort")] = rows(page)
    assert order == {"ascending": [LINEAR, COSINE], "descending": [COSINE, LINEAR], "none": [COSINE, LINEAR]}


def test_filtering_by_text_and_by_value_hides_rows_curves_and_pictures(page):
    page.click("#filter")
    page.type("cosine")
    assert rows(page) == rows(page, "table-cost") == drawn(page) == [COSINE]
    assert page.run("all('#samples figure').length") == 1
    assert page.run("byId('shown').textContent") == "1 of 2 groups"
    page.click("#reset")
    assert len(rows(page)) == len(drawn(page)) == 2
    page.select("select[data-label=schedule]", "VP(beta_max=20)")
    assert rows(page) == drawn(page) == [LINEAR]


def test_a_group_is_toggled_in_the_curves(page):
    assert drawn(page) == [COSINE, LINEAR]
    page.click('#legend input[data-g="0"]')
    assert drawn(page) == [LINEAR]
    assert rows(page) == [COSINE, LINEAR]
    page.click("#all")
    assert drawn(page) == [COSINE, LINEAR]


def test_curves_have_bands_axes_and_single_seeds(page):
    assert page.run("all('#charts figure').length") == 4
    assert page.run("all('#charts figure:first-child path.band').length") == 2
    assert "five seeds or more: the 95 % interval" in page.run("byId('band').textContent")
    before = page.run("document.querySelector('#charts path.mean').getAttribute('d')")
    page.select("#axis", "t")
    assert page.run("document.querySelector('#charts path.mean').getAttribute('d')") != before
    assert "seconds of training" in page.run("document.querySelector('#charts svg').textContent")
    page.click("#lines")
    assert page.run("all('#charts figure:first-child path.one').length") == 10
    page.select("#charts figure:first-child select", "train/loss")
    assert page.run("document.querySelector('#charts svg').ariaLabel") == "train/loss"
    # a seed that is not finished leaves the line dotted where it is missing
    assert page.run("all('#charts figure:first-child path.fewer').length") == 1


def test_the_pointer_reads_a_curve(page):
    page.run("document.querySelector('#charts svg').scrollIntoView({block: 'center'})")
    place = page.run(
        "(b => [b.left + b.width * .98, b.top + 90])(document.querySelector('#charts svg').getBoundingClientRect())"
    )
    page.send("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
    told = page.run("byId('tip').innerText")
    assert "12,800 images" in told
    assert COSINE in told
    assert " to " in told


def test_another_baseline_changes_what_is_said(page):
    cell = 'tbody[data-g="{}"] td[data-metric="psnr_hidden/sample"]'
    assert page.run(f"document.querySelector('{cell.format(1)}').classList.contains('mm')")
    page.select("#baseline", LINEAR)
    assert page.run(f"document.querySelector('{cell.format(0)}').classList.contains('mp')")
    page.click(cell.format(0))
    told = page.run("byId('detail').innerText")
    assert "Welch's t-test" in told  # four seeds against five
    assert "Seed 3: 1" in told
    assert "split test" in told


def test_numbers_at_equal_images_seen(page):
    page.select("#at", "equal")
    assert rows(page) == []
    assert rows(page, "numbers-equal") == [COSINE, LINEAR]
    cell = 'document.querySelector(\'#numbers-equal tbody[data-g="0"] td[data-metric^="fd/"]\')'
    page.run(f"{cell}.click()")
    assert "After 7,680 images" in page.run("byId('detail').innerText")


def test_columns_are_chosen(page):
    shown = "all('#numbers-last thead th').filter(th => th.offsetParent).length"
    before = page.run(shown)
    page.click("#chooser summary")
    page.click("#menu label:first-child input")
    assert page.run(shown) == before - 1


def test_images_seen_are_chosen_for_all_pictures_at_once(page):
    captions = "all('#samples figcaption').map(c => c.textContent.match(/([\\d,]+) images/)[1])"
    sources = "all('#samples img, #restorations img').map(i => i.src)"
    assert page.run(captions) == ["12,800", "12,800"]
    last = page.run(sources)
    page.select("#time", "2560")
    assert page.run(captions) == ["2,560", "2,560"]
    assert page.run(sources) != last
    assert page.run("all('img').every(i => i.complete && i.naturalWidth > 0)")
    # truth and measurement once, then a sample and the mean of each group, at the same height
    heads = page.run("all('#restorations .strips')[0].innerText.split('\\n')")
    assert [head for head in heads if head in ("truth", "measured", "sample 1", "mean")] == [
        *("truth", "measured"),
        *("sample 1", "mean") * 2,
    ]
    tops = page.run("all('img', all('#restorations .strips')[0]).map(i => i.getBoundingClientRect().top)")
    assert len(tops) == 6
    assert len(set(tops)) == 1


def test_a_reload_keeps_what_was_chosen(page, file):
    page.click("#filter")
    page.type("vp")
    page.click("#numbers-last th:nth-child(3) button")
    page.select("#axis", "t")
    page.run("void location.reload()")
    page.until(lambda: page.run("document.readyState == 'complete' && byId('filter')?.value") == "vp")
    assert rows(page) == [LINEAR]
    assert page.run("document.querySelector('#numbers-last th:nth-child(3)').ariaSort") == "ascending"
    assert page.run("byId('axis').value") == "t"
    page.fetched[:] = [file.as_uri()]


def test_a_page_that_is_watched_loads_itself_again_and_keeps_filter_sorting_and_place(browser, tmp_path):
    runs, out = tmp_path / "runs", tmp_path / "page.html"
    for i in range(3):
        make_run(runs / f"r{i}", pictures=False, x=i)
    told = watch([runs], out, every=1.0)
    next(told)
    browser.open(out, height=600)
    browser.click("#filter")
    browser.type("x=1")
    browser.click("#numbers-last th:nth-child(2) button")
    browser.run("scrollTo(0, 400)")
    browser.run("window.old = true")
    with (runs / "r1" / "metrics.jsonl").open("a") as file:
        file.write(lines.encode({"images_seen": 12_928, "time": 1.7e9 + 101, "new/metric": 1.5}) + "\n")
    next(told)
    browser.until(lambda: browser.run("document.readyState == 'complete' && !window.old && !!byId('filter')"))
    assert browser.run("data.curves.some(curve => curve.name == 'new/metric')")
    assert rows(browser) == ["x=1"]
    assert browser.run("document.querySelector('#numbers-last th:nth-child(2)').ariaSort") == "ascending"
    assert browser.run("scrollY") == 400
    assert browser.said == []
    told.close()
    shutil.rmtree(runs)


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (420, True)])
def test_it_can_be_looked_at(page, file, tmp_path, width, dark):
    page.open(file, width=width, dark=dark, phone=width < 500)
    with Image.open(page.picture(tmp_path / "shot.png")) as image:
        assert image.width == width
        pixels = image.convert("RGB")
        assert len(pixels.getcolors(maxcolors=1 << 24)) > 200
        assert (sum(pixels.getpixel((3, 3))) < 150) is dark


def test_it_prints(page, tmp_path):
    pdf = page.send("Page.printToPDF", printBackground=True)["data"]
    assert len(pdf) > 50_000
