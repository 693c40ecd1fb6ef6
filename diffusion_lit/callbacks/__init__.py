"""What happens around training: averages, checkpoints, evaluation, the record."""

from diffusion_lit.callbacks.baselines import Bicubic, Biharmonic, GaussianMean, MeanImage
from diffusion_lit.callbacks.checkpoints import Checkpoints
from diffusion_lit.callbacks.compile import Compile
from diffusion_lit.callbacks.ema import EMA
from diffusion_lit.callbacks.evaluation import Evaluation, Evaluator, Periodic
from diffusion_lit.callbacks.finite import FiniteLoss
from diffusion_lit.callbacks.noise_levels import NoiseLevels
from diffusion_lit.callbacks.record import Record
from diffusion_lit.callbacks.restoration import Restoration
from diffusion_lit.callbacks.sampling import Sampling
from diffusion_lit.callbacks.share import Share
from diffusion_lit.callbacks.snapshots import Snapshots
from diffusion_lit.callbacks.stop import GracefulStop
from diffusion_lit.callbacks.training_log import ProgressBar, TrainingLog

__all__ = [
    "EMA",
    "Bicubic",
    "Biharmonic",
    "Checkpoints",
    "Compile",
    "Evaluation",
    "Evaluator",
    "FiniteLoss",
    "GaussianMean",
    "GracefulStop",
    "MeanImage",
    "NoiseLevels",
    "Periodic",
    "ProgressBar",
    "Record",
    "Restoration",
    "Sampling",
    "Share",
    "Snapshots",
    "TrainingLog",
]
