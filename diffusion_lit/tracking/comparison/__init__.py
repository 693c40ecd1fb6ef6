"""Comparing runs without a server: groups of seeds, tables with intervals and tests, and one page that shows it all."""

from diffusion_lit.tracking.comparison.compare import FORMATS, Comparison, compare
from diffusion_lit.tracking.comparison.page import write_page
from diffusion_lit.tracking.comparison.watch import watch

__all__ = ["FORMATS", "Comparison", "compare", "watch", "write_page"]
