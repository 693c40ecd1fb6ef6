"""Experiments as objects: what is run, what came out, what is claimed of it, and the paper's table."""

from diffusion_lit.reproduction.claims import Claim
from diffusion_lit.reproduction.experiment import Entry, Experiment
from diffusion_lit.reproduction.results import Result, Results

__all__ = ["Claim", "Entry", "Experiment", "Result", "Results"]
