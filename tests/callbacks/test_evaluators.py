"""Evaluators on exact denoisers, where the numbers are known."""

from functools import partial

import pytest
import torch

from diffusion_lit.analytic import GaussianDenoiser
from diffusion_lit.callbacks import Biharmonic, GaussianMean, MeanImage, NoiseLevels, Restoration, Sampling, Share
from diffusion_lit.callbacks.pictures import Picture, panel, to_bytes
from diffusion_lit.callbacks.share import Columns
from diffusion_lit.inverse import GaussianNoise, Measurement, methods
from diffusion_lit.inverse.operators import average_pool, inpaint_box
from diffusion_lit.noise import EDM
from diffusion_lit.objectives import DenoisingScoreMatching
from diffusion_lit.samplers import Heun


@pytest.fixture(scope="module")
def gaussian(data):
    return GaussianDenoiser.fit(data.images("train"), EDM())


@pytest.mark.parametrize("n", [0, 1, 7, 64])
@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
def test_shares_are_equal_and_make_the_whole(n, world_size):
    shares = [Share(rank, world_size).of(n) for rank in range(world_size)]
    assert [i for share in shares for i in share] == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_process_without_samples_does_the_first_one_which_does_not_count():
    parts = [Share(rank, 4).part(2) for rank in range(4)]
    assert [part.samples.tolist() for part in parts] == [[0], [0], [0], [1]]
    assert [part.count for part in parts] == [0, 1, 0, 1]
    rows = torch.arange(6.0).reshape(3, 2)
    assert Share(2, 3).part(7).samples.tolist() == [4, 5, 6]
    assert Share(2, 3).part(7).gather(rows, rows.device, first=6).equal(rows[:2])
    assert len(parts[0].gather(rows[:1], rows.device, first=2)) == 0


def test_columns_are_means_over_rows_not_over_batches():
    columns = Columns(["a", "b"])
    columns.update({"a": torch.tensor([1.0, 2.0, 3.0]), "b": torch.zeros(3)})
    columns.update({"a": torch.tensor([10.0]), "b": torch.ones(1)})
    assert columns.compute() == {"a": 4.0, "b": 0.25}


def test_pictures_are_laid_out_in_rows_and_columns(tmp_path):
    images = torch.full((2, 3, 1, 4, 5), -1.0)
    images[1, 2] = 0.5
    sheet = panel(images)
    assert sheet.shape == (2 * 4 + 2, 3 * 5 + 2 * 2, 1)
    assert sheet[0, 0] == 0
    assert sheet[-1, -1] == round(0.75 * 255)
    assert (sheet[4:6] == 255).all()
    assert to_bytes(torch.tensor([-3.0, -1.0, 0.0, 1.0, 3.0]).reshape(1, 1, 5)).flatten().tolist() == [
        0,
        0,
        128,
        255,
        255,
    ]
    Picture("a/{images_seen}/b", images, {"x": 1}).write(tmp_path, 64)
    assert {p.name for p in (tmp_path / "a" / "000000064").iterdir()} == {"b.png", "b.json"}


def test_noise_levels_of_a_linear_denoiser_are_its_mean_squared_error(data):
    """The error of a linear denoiser depends on two moments only: the trace of its posterior covariance."""
    images = data.held_out("validation", 150)["image"]
    denoiser = GaussianDenoiser.fit(images, EDM())
    objective = DenoisingScoreMatching()
    found = NoiseLevels(objective, levels=4, n=150)(denoiser, data, Share(), "raw").metrics
    quantiles = (torch.arange(4, dtype=torch.float64) + 0.5) / 4
    levels = objective.times(quantiles, denoiser.schedule).sort().values
    values = denoiser.eigenvalues[0]
    for level, t in enumerate(levels):
        alpha, sigma = denoiser.schedule(t)
        error = (values * sigma**2 / (alpha**2 * values + sigma**2)).mean()
        expected = float(objective.weighting(denoiser.schedule, t) * error)
        # 150 images of about 30 free dimensions: a standard error of 2 %
        assert found[f"loss_by_noise/raw/{level:02d}"] == pytest.approx(expected, rel=0.08)
    mean = sum(found[f"loss_by_noise/raw/{i:02d}"] for i in range(4)) / 4
    assert found["validation/loss/raw"] == pytest.approx(mean)


def test_samples_of_a_gaussian_are_as_far_from_the_data_as_exact_draws(data, gaussian):
    found = Sampling(Heun(18), n=200, extractors=["alex"], grid=10, landmarks=True)(gaussian, data, Share(), "raw")
    fd = {name.split("/")[3]: value for name, value in found.metrics.items() if name.startswith("fd/")}
    model = next(v for k, v in found.metrics.items() if k.startswith("fd/") and "/heun-" in k)
    assert model == pytest.approx(fd["gaussian"], rel=0.15)
    assert fd["floor"] < fd["gaussian"] / 2
    assert all("/n=200/" in name for name in found.metrics if name.startswith(("fd/", "kd/")))
    [picture] = found.pictures
    assert picture.images.shape == (3, 3, 1, 8, 8)


def test_restoration_under_a_gaussian_prior_is_the_linear_answer(data, gaussian):
    evaluate = Restoration(
        {"box": partial(inpaint_box, size=4), "pool": partial(average_pool, factor=2)},
        {"mmps": methods["mmps"](steps=60)},
        n=16,
        samples=16,
        baselines={"gaussian": GaussianMean(), "mean_image": MeanImage(), "biharmonic": Biharmonic()},
    )
    found = evaluate(gaussian, data, Share(), "raw")
    get = found.metrics.get
    assert get("restoration/box/mmps/raw/misfit_ratio") == pytest.approx(1, abs=0.1)
    # the mean of 16 samples has 1/16 more error than the exact mean: 0.26 dB
    exact, drawn = get("restoration/box/gaussian/psnr_hidden"), get("restoration/box/mmps/raw/psnr_hidden")
    assert drawn == pytest.approx(exact - 0.26, abs=0.5)
    assert get("restoration/box/mmps/raw/psnr_hidden_sample") < drawn - 1.5  # of one sample: about 3 dB less
    assert get("restoration/box/mean_image/psnr_hidden") < exact
    assert get("restoration/box/mmps/raw/nfe") == methods["mmps"](steps=60).nfe
    assert "restoration/pool/gaussian/psnr" in found.metrics
    assert "restoration/box/biharmonic/psnr_hidden" in found.metrics
    assert not any(name.startswith("restoration/pool/biharmonic") for name in found.metrics)  # it only inpaints
    assert [picture.about["operator"] for picture in found.pictures] == ["box", "pool"]
    assert found.pictures[0].images.shape == (8, 2 + 3 + 2, 1, 8, 8)


def test_the_gaussian_baseline_is_the_mean_of_the_exact_posterior(data, gaussian):
    operator = inpaint_box(shape=data.shape, size=4)
    truth = data.held_out("test", 5)["image"]
    batch = Measurement.simulate(operator, GaussianNoise(0.05), truth, seed=0)
    restored = GaussianMean()(batch, data)
    for y, image in zip(batch.y, restored):
        posterior = gaussian.posterior(Measurement(y, operator, batch.noise))
        torch.testing.assert_close(image.flatten().double(), posterior.means[0], atol=1e-4, rtol=1e-4)


def test_the_mean_image_and_biharmonic_keep_their_word(data):
    operator = inpaint_box(shape=data.shape, size=2)
    smooth = (torch.linspace(-1, 1, 8)[:, None] + torch.linspace(-0.5, 0.5, 8)).expand(3, 1, 8, 8).clone()
    measurement = Measurement(smooth, operator, GaussianNoise(0.05))
    torch.testing.assert_close(Biharmonic()(measurement, data), smooth, atol=1e-4, rtol=0)  # linear is biharmonic
    mean = data.images("train").mean(0)
    torch.testing.assert_close(MeanImage()(measurement, data), mean.expand(3, 1, 8, 8))
