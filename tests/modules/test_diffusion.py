"""The module: images seen, the noise that follows the image, the learning rate."""

import pytest
import torch
from lightning.pytorch import Callback

from diffusion_lit.data import ShardsDataModule, pack
from diffusion_lit.data.overfit import OneBatchDataModule
from diffusion_lit.modules import WarmupCooldown
from tests.callbacks.stage import LIGHTNING, fit, make_module

pytestmark = pytest.mark.filterwarnings(*LIGHTNING)


def test_the_learning_rate_rises_stays_and_falls():
    factor = WarmupCooldown(max_images=1000, warmup=100, cooldown=400, final=0.1)
    seen = [0, 50, 100, 600, 800, 1000, 2000]
    assert [factor(n) for n in seen] == pytest.approx([0, 0.5, 1, 1, 0.55, 0.1, 0.1])
    assert [WarmupCooldown(1000)(n) for n in (0, 500, 1000)] == [1, 1, 1]


class Watch(Callback):
    def __init__(self) -> None:
        self.seen: list[tuple[int, list[int], float]] = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer) -> None:
        self.rate = optimizer.param_groups[0]["lr"]

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.seen.append((pl_module.images_seen, batch["position"].tolist(), self.rate))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packs") / "digits"
    pack("digits", folder, progress=False)
    return str(folder)


def test_progress_is_counted_in_images_and_the_rate_follows_it(root, tmp_path):
    module, watch = make_module(), Watch()
    module.learning_rate = WarmupCooldown(max_images=96, warmup=32, cooldown=32)
    fit(tmp_path, root, module, [watch], 6)
    assert [seen for seen, _, _ in watch.seen] == [16 * k for k in range(1, 7)]
    assert [p for _, positions, _ in watch.seen for p in positions] == list(range(96))
    expected = [0.1 * module.learning_rate(16 * k) for k in range(1, 7)]
    assert [rate for _, _, rate in watch.seen] == pytest.approx(expected)


def test_the_noise_follows_the_image_not_the_batch(root):
    module = make_module()
    data = ShardsDataModule(root, 16)
    batch = next(iter(data.train_dataloader()))
    losses = module.losses(batch)
    assert losses.shape == (16,)
    part = {key: value[5:9] for key, value in batch.items()}
    torch.testing.assert_close(module.losses(part), losses[5:9])
    torch.testing.assert_close(module.training_step(batch, 0), losses.mean())
    module.seed = 1
    assert not torch.allclose(module.losses(batch), losses)


def test_one_batch_comes_again_with_other_noise(root):
    loader = iter(OneBatchDataModule(root, 16).train_dataloader())
    first, second = next(loader), next(loader)
    assert torch.equal(first["image"], second["image"])
    assert torch.equal(first["position"] + 16, second["position"])
    later = next(iter(OneBatchDataModule(root, 16, images_seen=16).train_dataloader()))
    assert all(torch.equal(value, second[key]) for key, value in later.items())


def test_conditions_are_passed_on(root):
    module = make_module(conditions=["label"])
    given = {}

    def objective(denoiser, x_0, *, seed, positions, **condition):
        given.update(condition)
        return torch.zeros(len(x_0))

    module.objective = objective
    batch = next(iter(ShardsDataModule(root, 16).train_dataloader()))
    module.losses(batch)
    assert list(given) == ["label"]
    assert torch.equal(given["label"], batch["label"])
