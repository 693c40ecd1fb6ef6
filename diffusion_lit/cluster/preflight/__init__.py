"""What would stop a run, or spoil it, found before it starts; every check says what it found and how to mend it."""

from diffusion_lit.cluster.preflight.result import Result, worst

__all__ = ["Result", "worst"]
