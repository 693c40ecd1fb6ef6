"""diffusion-lit restore checkpoint=RUN images=DIR|measured=DIR [operator=...|mask=...] [sigma=...] [key=value ...]

Restore the images of a folder with a trained prior.

    diffusion-lit restore checkpoint=runs/demo images=pictures operator=inpaint_box operator.size=12
    diffusion-lit restore checkpoint=runs/demo measured=scans mask=scratches.png sigma=estimate
    diffusion-lit restore checkpoint=runs/demo measured=scans operator=optics.py sigma=0.1 samples=16

Given are clean images, which are then degraded (images=DIR), or what was measured (measured=DIR: image files, .npy or
.npz), and how:
  operator=NAME      one of the operators below, with its arguments as operator.KEY=VALUE
  operator=FILE.py   a file that defines operator(shape) -> Operator, shape = (C, H, W); it is run
  operator=FILE.npy  a matrix of d_y rows and C H W columns (.npz too, sparse or not)
  mask=FILE|DIR      what is bright is hidden: one mask, or a folder of masks with the images' names

Keys:
  sigma=NUMBER       standard deviation of the noise, in the units of y: of [-1, 1] for images (0.05 for images=DIR)
  sigma=estimate     image by image: from the finest details of y if it is an image, else by maximum likelihood
  method=NAME        one of the methods below, with its arguments as method.KEY=VALUE
  samples=4          of each image
  size=H,W           of the restored images: clean ones are resized and cropped to it (size=trained: to the prior's own
                     size); unless given each image has its own size
  seed=0  ema=WIDTH  device=cpu|cuda  batch=128 (samples at a time)
  out=FOLDER         RUN/restored unless given

The folder holds measured/ sample/ mean/ deviation/ (PNG), arrays/ (npz: samples, mean, deviation), table.json,
table.csv and index.html. The same command goes on where it was stopped, and may run in several processes at once; what
is finished is not done again. Images that fail are named, and the exit status is 2.
checkpoint may be a folder of diffusers.
"""

from pathlib import Path
from typing import Any

from diffusion_lit.errors import UserError

__all__ = ["names", "run"]


def names() -> str:
    """What the help adds to the text above: the operators and the methods there are."""
    from textwrap import fill

    from diffusion_lit.inverse import methods
    from diffusion_lit.inverse.operators import operators
    from diffusion_lit.restoration import DEFAULT_METHOD

    lists = {"Operators": operators, "Methods": methods}
    text = [fill(f"{what}: {' '.join(known)}.", 120, break_on_hyphens=False) for what, known in lists.items()]
    return "\n".join([*text, f"Unless told, the method is {DEFAULT_METHOD}."])


def run(words: list[str]) -> int:
    from diffusion_lit.configuration import parse, split_arguments

    defaults: dict[str, Any] = {"checkpoint": "", "images": "", "measured": "", "operator": "", "mask": "", "sigma": ""}
    defaults |= {"method": "", "samples": 4, "size": "", "seed": 0, "ema": -1.0, "batch": 128, "device": "", "out": ""}
    given, rest = split_arguments(words, defaults)
    extra: dict[str, dict[str, Any]] = {"operator": {}, "method": {}}
    for word in rest:
        key, _, value = word.partition("=")
        kind, _, name = key.partition(".")
        if kind not in extra or not name:
            raise UserError(
                f"restore: unknown key {key!r}; keys are {', '.join(defaults)}, operator.KEY and method.KEY"
            )
        extra[kind][name] = parse(key, value)
    _check(given)

    from diffusion_lit import checkpoint
    from diffusion_lit.inverse.auto import Auto
    from diffusion_lit.restoration import Folder, Job, list_inputs
    from diffusion_lit.restoration.finish import finish, settings_of

    prior = checkpoint.load_prior(given["checkpoint"], None if given["ema"] < 0 else given["ema"])
    if len(prior.shape) != 3:
        raise UserError(f"{prior.file}: is a prior of samples of shape {prior.shape}; images are (C, H, W)")
    out = Path(given["out"] or prior.folder / "restored")
    inputs = list_inputs(given["images"] or given["measured"], bool(given["measured"]), without=out)
    recipe = _recipe(given, extra["operator"])
    method_name, method = _method(given["method"], extra["method"])
    job = Job(
        prior.denoiser.to(_device(given["device"])),
        prior.shape,
        method,
        recipe,
        None if given["sigma"] == "estimate" else _number("sigma", given["sigma"] or "0.05"),
        bool(given["measured"]),
        given["samples"],
        given["seed"],
        _size(given["size"], prior.shape),
        given["batch"],
    )
    settings = settings_of(job, prior.file, given["ema"], {"name": method_name, **extra["method"]})
    folder = Folder(out, settings)
    job.run(inputs, folder)
    if isinstance(method, Auto) and method.choice is not None:
        print(f"auto: {method.choice}")
    return finish(folder, inputs, settings | {"checkpoint": str(prior.file)})


def _check(given: dict[str, Any]) -> None:
    """Refuse what does not go together, before anything slow is begun."""
    if not given["checkpoint"] or bool(given["images"]) == bool(given["measured"]):
        raise UserError(
            "restore: expected checkpoint=RUN and either images=DIR (clean images, to be degraded) or measured=DIR "
            "(degraded ones, to be restored)"
        )
    if given["samples"] < 1 or given["batch"] < 1:
        raise UserError(f"restore: samples={given['samples']} batch={given['batch']}; give at least 1 of each")
    if given["operator"] and given["mask"]:
        raise UserError("restore: give mask=, which means inpainting, or operator=, not both")
    if given["measured"] and not (given["operator"] or given["mask"]):
        raise UserError("restore: how was it measured? give operator= or mask=")
    if given["measured"] and not given["sigma"]:
        raise UserError("restore: what noise is in it? give sigma=NUMBER, or sigma=estimate")
    if given["images"] and given["sigma"] == "estimate":
        raise UserError("restore: sigma=estimate is for measured=DIR; clean images get noise of the sigma you give")


def _recipe(given: dict[str, Any], arguments: dict[str, Any]) -> Any:
    from diffusion_lit.restoration import from_file, from_masks, from_name

    if given["mask"]:
        if arguments:
            raise UserError(f"restore: a mask takes no operator.{next(iter(arguments))}")
        return from_masks(given["mask"])
    name = given["operator"] or "inpaint_box"
    if Path(name).suffix in {".py", ".npy", ".npz"}:
        return from_file(name, arguments)
    return from_name(name, arguments)


def _method(name: str, arguments: dict[str, Any]) -> tuple[str, Any]:
    from diffusion_lit.inverse import methods
    from diffusion_lit.restoration import DEFAULT_METHOD

    name = name or DEFAULT_METHOD
    if name not in methods:
        raise UserError(f"method={name}: is unknown; choose one of {', '.join(methods)}")
    try:
        return name, methods[name](**arguments)
    except TypeError as error:
        raise UserError(f"method={name}: {error}") from error


def _number(key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UserError(f"{key}={text}: expected a number >= 0, or sigma=estimate")
    return value


def _size(text: str, trained: tuple[int, ...]) -> tuple[int, int] | None:
    if text in ("", "trained"):
        return (trained[1], trained[2]) if text else None
    sides = text.split(",")
    if len(sides) not in (1, 2) or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise UserError(f"size={text}: expected a number, H,W or trained")
    return int(sides[0]), int(sides[-1])


def _device(name: str) -> Any:
    import torch

    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={name}: is not there ({str(error).splitlines()[0]})") from error
    return device
