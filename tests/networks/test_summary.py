"""The summary counts what can be counted by hand."""

import torch
from torch import nn

from diffusion_lit.networks.mlp import MLP
from diffusion_lit.networks.summary import summarize
from diffusion_lit.networks.unet import UNet


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(10, 20), nn.Linear(20, 10)

    def forward(self, x, noise_level):
        return self.second(self.first(x).square())


def test_two_linear_layers():
    summary = summarize(Two(), (10,))
    assert summary.parameters == 220 + 210
    assert summary.flops == 2 * (10 * 20 + 20 * 10)
    assert summary.activation_bytes == 4 * (10 + 20 + 20)  # the input, what is squared, the square
    assert summary.training_bytes(8) == 4 * 430 * 4 + 8 * 200
    assert str(summary) == (
        "Two for 10: 0.00 M parameters, 0.000 GFLOP forward per sample, 0.00 GB to train at batch 128"
    )


def test_networks_stay_as_they_are():
    network = UNet(width=16, blocks=1)
    with torch.no_grad():
        summary = summarize(network, (1, 28, 28))
    assert network.training
    assert all(p.grad is None for p in network.parameters())
    assert summary.parameters == sum(p.numel() for p in network.parameters())
    assert 0 < summarize(network, (1, 14, 14)).activation_bytes < summary.activation_bytes
    assert "UNet for 1 x 28 x 28" in str(summary)
    assert summarize(MLP(4), (4,)).flops > 0
