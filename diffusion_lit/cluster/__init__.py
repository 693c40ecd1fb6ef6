"""Clusters: what a job asks for, the sbatch file that it becomes, its submission."""

from diffusion_lit.cluster.axes import spread
from diffusion_lit.cluster.config import Cluster
from diffusion_lit.cluster.sbatch import Element, Job, listing, render
from diffusion_lit.cluster.slurm import arguments, submit

__all__ = ["Cluster", "Element", "Job", "arguments", "listing", "render", "spread", "submit"]
