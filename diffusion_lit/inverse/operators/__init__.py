"""Operators, one family a file, and their names."""

from collections.abc import Callable

from diffusion_lit.inverse.operators.base import Operator
from diffusion_lit.inverse.operators.channels import colourise, identity
from diffusion_lit.inverse.operators.checks import check_adjoint, check_linear
from diffusion_lit.inverse.operators.convolution import convolve, motion_blur
from diffusion_lit.inverse.operators.fourier import fourier_mask
from diffusion_lit.inverse.operators.inpainting import (
    Inpainting,
    inpaint_box,
    inpaint_half,
    inpaint_lines,
    inpaint_mask,
    inpaint_random,
)
from diffusion_lit.inverse.operators.lensing import gravitational_lens
from diffusion_lit.inverse.operators.linear import LinearOperator, MatrixOperator
from diffusion_lit.inverse.operators.magnetic_resonance import mri
from diffusion_lit.inverse.operators.nonlinear import hdr, nonlinear_blur, phase_retrieval
from diffusion_lit.inverse.operators.sensing import gaussian_sensing, hadamard_sensing
from diffusion_lit.inverse.operators.separable import Separable, average_pool, bicubic, gaussian_blur
from diffusion_lit.inverse.operators.stacking import Stack, stack
from diffusion_lit.inverse.operators.svd import SVD
from diffusion_lit.inverse.operators.tomography import radon

__all__ = [
    "SVD",
    "Inpainting",
    "LinearOperator",
    "MatrixOperator",
    "Operator",
    "Separable",
    "Stack",
    "check_adjoint",
    "check_linear",
    "operators",
    "stack",
]

#: name -> (shape=(C, H, W), ...) -> operator
operators: dict[str, Callable[..., Operator]] = {
    "identity": identity,
    "inpaint_box": inpaint_box,
    "inpaint_half": inpaint_half,
    "inpaint_random": inpaint_random,
    "inpaint_lines": inpaint_lines,
    "inpaint_mask": inpaint_mask,
    "average_pool": average_pool,
    "bicubic": bicubic,
    "gaussian_blur": gaussian_blur,
    "convolve": convolve,
    "motion_blur": motion_blur,
    "nonlinear_blur": nonlinear_blur,
    "fourier_mask": fourier_mask,
    "mri": mri,
    "radon": radon,
    "gaussian_sensing": gaussian_sensing,
    "hadamard_sensing": hadamard_sensing,
    "colourise": colourise,
    "hdr": hdr,
    "phase_retrieval": phase_retrieval,
    "gravitational_lens": gravitational_lens,
}
