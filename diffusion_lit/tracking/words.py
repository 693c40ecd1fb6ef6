"""Metric names in human words: what a number is called, its unit, and which way is better."""

import math
from dataclasses import dataclass

__all__ = ["Number", "Quantity", "best", "is_baseline", "plain_words", "quantity", "show"]


Number = int | float  # a checker of types at run time takes an integer for no float


@dataclass(frozen=True)
class Quantity:
    """A measured quantity.

    Args:
        title: in human words.
        unit: "" for a pure number; "s" for seconds, "images" and "count" for whole numbers.
        goal: "high", "low", "one" (the closer to 1 the better) or "" (nothing to compare).
        note: one sentence for the reader of a report.
    """

    title: str
    unit: str = ""
    goal: str = ""
    note: str = ""


_QUANTITIES = {
    "psnr": Quantity("PSNR", "dB", "high", "Peak signal-to-noise ratio over the whole image; higher is better."),
    "psnr_hidden": Quantity(
        "PSNR on hidden pixels", "dB", "high", "Only the pixels that the measurement does not see; higher is better."
    ),
    "ssim": Quantity("SSIM", "", "high", "Structural similarity; higher is better."),
    "lpips": Quantity("LPIPS", "", "low", "Perceptual distance to the truth; lower is better."),
    "fd": Quantity("Fréchet distance", "", "low", "Between generated and training images; lower is better."),
    "fd_alex": Quantity(
        "Fréchet distance (AlexNet features)",
        "",
        "low",
        "Between generated and training images; lower is better. The floor is that of as many real "
        "held-out images: no model can be expected below it.",
    ),
    "kd": Quantity("Kernel distance", "", "low", "Between generated and training images; lower is better."),
    "kd_alex": Quantity(
        "Kernel distance (AlexNet features)", "", "low", "Between generated and training images; lower is better."
    ),
    "loss": Quantity("Loss", "", "low"),
    "misfit": Quantity("Misfit"),
    "misfit_ratio": Quantity(
        "Data misfit / expected", "", "one", "||y - A x|| / sigma against its expected value; 1 is right."
    ),
    "images_seen": Quantity("Images seen", "images"),
    "train_seconds": Quantity("Training time", "s"),
    "seconds": Quantity("Time", "s"),
    "images_per_second": Quantity("Images per second"),
    "nfe": Quantity("Network evaluations", "count"),
    "nfe_per_sample": Quantity("Network evaluations per sample", "count"),
    "vjps": Quantity("Vector-Jacobian products", "count"),
}
_OURS = ("posterior_mean", "sample", "model")
_WORDS = {
    "gaussian": "Gaussian fit",
    "mean_image": "mean training image",
    "biharmonic": "biharmonic inpainting",
    "model": "this model",
    "sample": "one posterior sample",
    "floor": "floor (real against real)",
    "dps": "DPS",
    "pigdm": "ΠGDM",
    "mmps": "MMPS",
    "repaint": "RePaint",
    "measurement": "measured",
    "standard deviation": "std. dev.",
}


def quantity(name: str) -> Quantity:
    """Return what a metric's path measures, judged by its most telling part; its own words if it is not known."""
    parts = name.split("/")
    for part in [*reversed(parts), *(part.split("_")[0] for part in reversed(parts))]:
        if part in _QUANTITIES:
            return _QUANTITIES[part]
    return Quantity(plain_words(name))


def plain_words(name: str) -> str:
    """Return a part of a metric's path as a reader would say it."""
    return _WORDS.get(name, name.replace("_", " "))


def is_baseline(name: str) -> bool:
    """Return whether the last part of a summary key names something this model is compared with."""
    return name.rsplit("/", 1)[-1] not in _OURS


def show(value: Number, unit: str = "") -> str:
    """Return a number as a reader wants it: four significant digits, thousands apart, seconds as a duration."""
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite"
    if unit == "s":
        return _duration(value)
    if unit == "dB":
        return f"{value:.2f} dB"
    if value == round(value) and abs(value) < 1e15:
        text = f"{int(value):,}"
    elif 1e-3 <= abs(value) < 1e5:
        digits = max(0, 3 - math.floor(math.log10(abs(value))))
        text = f"{value:,.{digits}f}"
    else:
        text = f"{value:.3g}"
    return text


def best(values: list[Number | None], goal: str) -> set[int]:
    """Return the positions of the best values; none if there is nothing to choose or no known direction.

    Args:
        values: None or NaN where there is no number.
        goal: as in `Quantity`.
    """
    costs = {"high": lambda v: -v, "low": lambda v: v, "one": lambda v: abs(v - 1)}
    there = {i: v for i, v in enumerate(values) if v is not None and not math.isnan(v)}
    if goal not in costs or len(set(there.values())) < 2:
        return set()
    cost = {i: costs[goal](v) for i, v in there.items()}
    return {i for i, c in cost.items() if c == min(cost.values())}


def _duration(seconds: Number) -> str:
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
