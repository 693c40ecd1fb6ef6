import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from diffusion_lit.errors import UserError
from diffusion_lit.tracking.charts import Line, draw, smooth


def test_smoothing_keeps_a_constant_and_passes_over_nan():
    assert smooth([2.0, float("nan"), 2.0, float("inf"), 2.0], 10) == pytest.approx([2.0] * 5)


def test_smoothing_over_one_point_changes_nothing_and_over_many_lowers_the_variance():
    noise = np.random.default_rng(0).normal(size=2000).tolist()
    assert smooth(noise, 1) == pytest.approx(noise)
    # The stationary variance of a moving average that keeps 1 - 1/w is 1 / (2 w - 1): 1/19 at w = 10.
    assert np.var(smooth(noise, 10)[100:]) == pytest.approx(1 / 19, rel=0.3)


def test_a_chart_is_one_svg_that_needs_nothing_else_and_is_always_the_same():
    lines = [Line("<loss> & more", [0, 1000, 2000], [3.0, 1.0, float("nan")]), Line("other", [0, 2000], [1, 2])]
    svg = draw(lines, log=True)
    tree = ElementTree.fromstring(svg)
    assert tree.tag.endswith("svg")
    assert "viewBox" in tree.attrib
    assert "width" not in tree.attrib
    assert "currentColor" in svg
    assert "&lt;loss&gt; &amp; more" in svg
    assert not re.search(r'href="(?!#)', svg)
    assert draw(lines, log=True) == svg


def test_without_matplotlib_the_mend_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"pip install 'diffusion_lit\[report\]'"):
        draw([Line("loss", [1], [1.0])])
