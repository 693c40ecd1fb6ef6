"""Restore a user's own folder: images or measurements in, restored images, samples, a table and a page out."""

from diffusion_lit.restoration.folder import Folder
from diffusion_lit.restoration.inputs import Input, list_inputs
from diffusion_lit.restoration.job import Job
from diffusion_lit.restoration.recipes import Recipe, from_file, from_masks, from_name

__all__ = ["DEFAULT_METHOD", "Folder", "Input", "Job", "Recipe", "from_file", "from_masks", "from_name", "list_inputs"]

#: The posterior method of the `restore` command unless one is given.
DEFAULT_METHOD = "auto"
