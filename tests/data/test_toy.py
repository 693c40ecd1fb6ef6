import pytest
import torch

from diffusion_lit import toys
from diffusion_lit.data.toy import ToyDataModule
from diffusion_lit.errors import UserError
from diffusion_lit.randomness import Randomness


def test_the_stream_is_a_function_of_seed_and_position():
    data = ToyDataModule(toys.ring(), batch_size=8, seed=3)
    batches = iter(data.train_dataloader())
    first, second = next(batches), next(batches)
    assert second["position"].tolist() == list(range(8, 16))
    later = next(iter(ToyDataModule(toys.ring(), batch_size=4, seed=3, images_seen=8).train_dataloader()))
    assert torch.equal(later["image"], second["image"][:4])
    other = next(iter(ToyDataModule(toys.ring(), batch_size=8, seed=4).train_dataloader()))
    assert not torch.equal(other["image"], first["image"])


def test_held_out_samples_are_fixed_and_differ_by_split():
    data = ToyDataModule(toys.ring(), batch_size=8, scale=0.5)
    test, validation = data.held_out("test", 100)["image"], data.held_out("validation", 100)["image"]
    assert not torch.equal(test, validation)
    assert torch.equal(
        test[:5], ToyDataModule(toys.ring(), batch_size=2, seed=9, scale=0.5).held_out("test", 5)["image"]
    )
    assert 0.9 < test.norm(dim=1).mean() < 1.1  # radius 2 at half the scale
    assert sum(len(batch["image"]) for batch in data.test_dataloader()) == 2_000
    with pytest.raises(UserError, match=r"valid: .*validation"):
        data.held_out("valid")


def test_samples_and_the_noise_of_training_are_independent():
    batch = next(iter(ToyDataModule(toys.gaussian(2), batch_size=10_000).train_dataloader()))
    eps = Randomness(0, batch["position"]).normal(2)  # what every objective draws for these positions
    correlation = batch["image"].mT @ eps / len(eps)
    assert correlation.abs().max() < 4 / 100  # standard error 1/100


def test_it_goes_on_where_it_stood():
    data = ToyDataModule(toys.ring(), batch_size=8)
    data.load_state_dict({"images_seen": 64})
    assert next(iter(data.train_dataloader()))["position"][0] == 64
    assert data.state_dict() == {"images_seen": 64}
    assert data.description["shape"] == [2]
