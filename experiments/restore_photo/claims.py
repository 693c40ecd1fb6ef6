"""The mean of `auto`'s samples is nearer to the photo than any estimate without a denoiser; a sample looks more so."""

from collections.abc import Callable, Iterator

from diffusion_lit.reproduction import Claim, Results

BASELINES = ("bicubic", "Wiener", "biharmonic")

REASONS = {
    (
        "inpainting 70 %",
        "LPIPS",
    ): "scattered pixels say nearly all, and a smooth fill is a strong bar; "
    "neither 100 steps (.257) nor mmps (.244) mend it, so it is most likely the network, small and shortly trained",
    ("inpainting a box", "PSNR"): "the box is twice as wide as the patches that the network has seen: it fills in "
    "texture and not the nose, which costs more than the smooth fill",
}


def claims(results: Results) -> Iterator[Claim]:
    def best(metric: str, task: str, pick: Callable[[list[float]], float]) -> float:
        baselines = [result for name in BASELINES for result in results.at(task=task, method=name)]
        values = [result.metrics[metric] for result in baselines if metric in result.metrics]
        if not values:
            raise LookupError(f"no baseline at {task}")
        return pick(values)

    for task in results.axes["task"]:
        yield Claim(
            f"{task}: PSNR of the mean of auto's samples above the best baseline's, dB",
            "bar set before the first run",
            lambda task=task: results.mean("psnr", task=task, method="auto") - best("psnr", task, max),
            at_least=0,
            reason=REASONS.get((task, "PSNR"), ""),
        )
        yield Claim(
            f"{task}: LPIPS of a sample of auto over the best baseline's",
            "bar set before the first run",
            lambda task=task: results.mean("lpips_sample", task=task, method="auto") / best("lpips_sample", task, min),
            at_most=1,
            reason=REASONS.get((task, "LPIPS"), ""),
        )
