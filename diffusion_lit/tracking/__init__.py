"""What a run leaves behind: its identity, its record, its metrics, and the pages and tables made of them."""

from diffusion_lit.tracking.identity import run_identity
from diffusion_lit.tracking.record import RunRecord

__all__ = ["RunRecord", "run_identity"]
