"""Score networks: `network(x, noise_level, **condition)` returns a tensor shaped like x."""
