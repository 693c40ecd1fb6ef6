import pytest

from diffusion_lit.errors import UserError
from diffusion_lit.tracking import RunRecord
from diffusion_lit.tracking.compare import compare, run_names
from tracking.synthetic import SUMMARY, make_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    first, second = make_run(folder / "first"), make_run(folder / "second", seed=1, batch_size=256)
    better = {"psnr_hidden/sample": 13.0, "fd_alex/model": 12.0, "misfit_ratio": 0.999, "only/here": 1.0}
    RunRecord(second).write_summary(SUMMARY | better)
    return [first, second]


def test_the_best_run_of_each_metric_is_marked(runs):
    comparison = compare(runs)
    winners = {"psnr_hidden/sample": {1}, "fd_alex/model": {0}, "misfit_ratio": {1}, "images_seen": set()}
    assert {metric: comparison.best(metric) for metric in winners} == winners
    assert comparison.numbers["only/here"] == [None, 1.0]
    last = RunRecord(runs[0]).series("validation/loss/ema-0.05")[1][-1]
    assert comparison.numbers["validation/loss/ema-0.05"][0] == last
    assert not any(metric.startswith(("train/", "loss_by_noise/")) for metric in comparison.numbers)


def test_only_config_keys_that_count_and_differ_are_shown(runs):
    assert compare(runs).config == {"batch_size": ["128", "256"], "seed": ["0", "1"]}


def test_prints_for_a_terminal_and_in_markdown(runs):
    text, markdown = compare(runs).text(width=100), compare(runs).markdown()
    assert "13.00 dB*" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "| psnr_hidden/sample | 12.50 dB | **13.00 dB** |" in markdown
    assert "| batch_size | 128 | 256 |" in markdown


def test_names_are_as_short_as_they_can_be(tmp_path):
    assert run_names([tmp_path / "a" / "demo", tmp_path / "a" / "other"]) == ["demo", "other"]
    assert run_names([tmp_path / "a" / "demo", tmp_path / "b" / "demo"]) == ["a/demo", "b/demo"]


def test_no_run_is_an_error(tmp_path):
    with pytest.raises(UserError, match="no run is given"):
        compare([])
    with pytest.raises(UserError, match="no run was started here"):
        compare([tmp_path])
