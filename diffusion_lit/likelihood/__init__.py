"""How a denoiser becomes nats, and nats become bits per dimension."""

from diffusion_lit.likelihood.bound import Bound, VariationalBound
from diffusion_lit.likelihood.dequantisation import Dequantisation, Dequantised
from diffusion_lit.likelihood.flow import ProbabilityFlowNLL
from diffusion_lit.likelihood.mmse import MMSENLL, Estimate, LogisticLaw, LogSNRLaw, UniformLaw
from diffusion_lit.likelihood.prior import GaussianPrior, Prior
from diffusion_lit.likelihood.solvers import HEUN, RK4, DormandPrince, FixedSteps, Solver, Tableau

__all__ = [
    "HEUN",
    "MMSENLL",
    "RK4",
    "Bound",
    "Dequantisation",
    "Dequantised",
    "DormandPrince",
    "Estimate",
    "FixedSteps",
    "GaussianPrior",
    "LogSNRLaw",
    "LogisticLaw",
    "Prior",
    "ProbabilityFlowNLL",
    "Solver",
    "Tableau",
    "UniformLaw",
    "VariationalBound",
]
