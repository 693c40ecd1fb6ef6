import pytest
import torch


@pytest.fixture
def awake():
    """Replace the weights that are zero at initialisation, so that every path through the network counts."""

    def wake(network: torch.nn.Module) -> torch.nn.Module:
        torch.manual_seed(0)
        for parameter in network.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
        return network.eval()

    return wake
