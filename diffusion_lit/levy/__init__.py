"""Levy signals x = cumsum(u), u_i independent jumps, whose posteriors under any linear measurement can be sampled.

The jumps' laws are Gaussian scale mixtures, u | v ~ N(0, v) (Andrews & Mallows 1974), each on a few nodes v_k. So

    E[u | u + s n] = sum_k r_k v_k / (v_k + s^2) (u + s n),    r_k ~ w_k N(u + s n; 0, v_k + s^2),

is the exact denoiser of the jumps, and given all v the posterior is Gaussian: a Gibbs sampler over v alone, with u
integrated out, needs no more. The laws are those of the benchmark of Zach et al. 2025 (arXiv:2509.12821).
"""

from diffusion_lit.levy.denoiser import JumpDenoiser
from diffusion_lit.levy.gibbs import posterior_of_jumps
from diffusion_lit.levy.signals import Levy, ScaleMixture, bernoulli_laplace, gaussian, laplace, student_t

__all__ = [
    "JumpDenoiser",
    "Levy",
    "ScaleMixture",
    "bernoulli_laplace",
    "gaussian",
    "laplace",
    "posterior_of_jumps",
    "student_t",
]
