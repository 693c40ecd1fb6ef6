"""Samples are compared with real images as a feature extractor sees both: rounded to bytes."""

import pytest
import torch

from diffusion_lit.metrics import reference as module
from diffusion_lit.metrics.features import Extractor
from diffusion_lit.metrics.reference import Reference


def _batches(images):
    return [{"image": part, "position": place} for part, place in zip(images.split(64), torch.arange(400).split(64))]


@pytest.fixture
def reference():
    real = torch.randint(0, 256, (400, 1, 2, 2), generator=torch.Generator().manual_seed(0)) / 127.5 - 1
    return real, Reference(_batches(real), Extractor(torch.nn.Flatten(), "pixels-4@2", 4))


def test_the_images_themselves_are_at_distance_zero_before_and_after_rounding(reference):
    real, seen = reference
    assert seen.frechet(real) == pytest.approx(0, abs=1e-6)
    assert seen.frechet(real + 0.49 / 127.5) == seen.frechet(real)
    assert seen.frechet(real + 0.51 / 127.5) > seen.frechet(real)


def test_a_shift_and_values_out_of_range(reference):
    real, seen = reference
    frechet, kernel = seen.distances(0.5 * real)
    # N(m, C) against N(m / 2, C / 4): |m|^2 / 4 + tr C / 4, but for the rounding
    expected = (real.flatten(1).mean(0).square().sum() + real.flatten(1).var(0).sum()) / 4
    assert frechet == pytest.approx(expected.item(), rel=0.02)
    assert kernel > 0
    assert seen.frechet(3 * real) == seen.frechet((3 * real).clamp(-1, 1))


def test_only_the_first_features_are_kept_but_the_moments_are_of_all(reference, monkeypatch):
    real, seen = reference
    monkeypatch.setattr(module, "_KEPT", 100)
    fewer = Reference(_batches(real), seen.extractor)
    torch.testing.assert_close(fewer.features, seen.features[:100])
    torch.testing.assert_close(fewer.moments.covariance, seen.moments.covariance)
