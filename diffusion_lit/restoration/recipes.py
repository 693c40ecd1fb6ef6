"""How the operator of an image is made: by a name, from a mask, or from a user's own file."""

import importlib.util
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from diffusion_lit.data.sources.image_folder import SUFFIXES
from diffusion_lit.errors import UserError
from diffusion_lit.inverse.operators import MatrixOperator, Operator, operators
from diffusion_lit.inverse.operators.inpainting import inpaint_mask
from diffusion_lit.restoration.inputs import Input, Shape, digest

__all__ = ["Recipe", "from_file", "from_masks", "from_name"]


@dataclass(frozen=True)
class Recipe:
    """Makes the operator of an image.

    Args:
        make: (shape (C, H, W) of x, the input) -> operator.
        facts: all that can change the operator, for the settings of a job.
        digest: what else can change that of one image, such as the content of its own mask.
        shared: whether images of one shape have one operator.
    """

    make: Callable[[Shape, Input], Operator]
    facts: Mapping[str, Any]
    digest: Callable[[Input], str] = lambda entry: ""
    shared: bool = True
    _made: dict[Shape, Operator] = field(default_factory=dict, repr=False)

    def __call__(self, shape: Shape, entry: Input) -> Operator:
        if not self.shared:
            return self.make(shape, entry)
        if shape not in self._made:
            self._made[shape] = self.make(shape, entry)
        return self._made[shape]


def from_name(name: str, arguments: Mapping[str, Any]) -> Recipe:
    """An operator of the package; raises UserError for a name or an argument that it does not have."""
    if name not in operators:
        raise UserError(
            f"operator={name}: is unknown; choose one of {', '.join(operators)}, or give FILE.py, FILE.npy or FILE.npz"
        )
    make = operators[name]
    try:
        inspect.signature(make).bind_partial(shape=(), **arguments)
    except TypeError as error:
        known = [key for key in inspect.signature(make).parameters if key != "shape"]
        raise UserError(f"operator={name}: {error}; it takes {', '.join(known) or 'nothing'}") from error

    def build(shape: Shape, entry: Input) -> Operator:
        try:
            return make(shape=shape, **_defaults(name, shape) | dict(arguments))
        except TypeError as error:
            raise UserError(f"operator={name}: {error}") from error

    return Recipe(build, {"name": name, **arguments})


def from_masks(path: str | Path) -> Recipe:
    """Inpainting: one mask file for all images, or a folder of masks with the images' names; bright pixels are hidden.

    Raises:
        UserError: there is no such file or folder.
    """
    path = Path(path)
    if not path.is_dir():
        return Recipe(lambda shape, entry: inpaint_mask(shape, path), {"mask": digest(path)})

    def find(entry: Input) -> Path:
        places = [path / f"{entry.stem}{ending}" for ending in sorted(SUFFIXES)]
        found = [place for place in places if place.is_file()]
        if not found:
            raise UserError(f"{path}: holds no mask for {entry.name}; name it {entry.stem}.png")
        return found[0]

    return Recipe(
        lambda shape, entry: inpaint_mask(shape, find(entry)),
        {"mask": "one for each image"},
        digest=lambda entry: digest(find(entry)),
        shared=False,
    )


def from_file(path: str | Path, arguments: Mapping[str, Any]) -> Recipe:
    """A user's own operator: FILE.npy or FILE.npz holds a matrix (d_y, C H W), FILE.py defines `operator`.

    `operator` is a function (shape, **arguments) -> Operator, shape = (C, H, W), or an Operator. The file is run.

    Raises:
        UserError: the file cannot be read or run, or has no such thing.
    """
    path = Path(path)
    facts = {"file": digest(path), **arguments}
    if path.suffix != ".py":
        if arguments:
            raise UserError(f"operator={path}: a matrix takes no arguments, but {', '.join(arguments)} were given")
        matrix = _matrix(path)
        return Recipe(lambda shape, entry: MatrixOperator(matrix, shape), facts)
    found = _module(path)

    def make(shape: Shape, entry: Input) -> Operator:
        if isinstance(found, Operator):
            made = found
        else:
            try:
                made = found(shape, **arguments)
            except UserError:
                raise
            except Exception as error:
                raise UserError(f"{path}: operator({shape}) raised {type(error).__name__}: {error}") from error
        if not isinstance(made, Operator):
            raise UserError(
                f"{path}: operator({shape}) returned a {type(made).__name__}; return an Operator, such as "
                f"LinearOperator.from_function(f, shape) or, if f is not linear, Operator.from_function(f, shape)"
            )
        if made.x_shape != shape:
            raise UserError(f"{path}: its operator takes images of shape {made.x_shape}, and this one has {shape}")
        return made

    return Recipe(make, facts)


def _matrix(path: Path) -> torch.Tensor:
    from scipy import sparse  # a second to import

    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            matrix = loaded
        elif "format" in loaded.files:  # what scipy.sparse.save_npz writes
            matrix = sparse.load_npz(path).toarray()
        elif len(loaded.files) == 1:
            matrix = loaded[loaded.files[0]]
        else:
            raise UserError(f"operator={path}: holds {', '.join(loaded.files)}; save the matrix alone")
    except (OSError, ValueError, EOFError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"operator={path}: could not be read as a matrix ({error})") from error
    if matrix.ndim != 2 or matrix.dtype.kind not in "fiub":
        raise UserError(f"operator={path}: {matrix.dtype} of shape {matrix.shape}; expected real numbers (d_y, C H W)")
    return torch.from_numpy(matrix.astype(np.float64))


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"operator_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"operator={path}: raised {type(error).__name__} when it was run: {error}") from error
    found = getattr(module, "operator", None)
    if not callable(found):
        raise UserError(f"operator={path}: defines no `operator`: write a function operator(shape) that returns one")
    return found


def _defaults(operator: str, shape: Shape) -> dict[str, Any]:
    """Arguments that an operator must have, for a first look."""
    return {
        "inpaint_box": {"size": max(1, min(shape[1:]) // 2 - 2)},
        "average_pool": {"factor": 2},
        "bicubic": {"factor": 2},
        "gaussian_blur": {"sigma": 1.0},
    }.get(operator, {})
