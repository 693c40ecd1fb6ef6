"""A sample of `auto` looks more like the truth than any estimate without a denoiser; the mean of several is nearer."""

from collections.abc import Iterator

from diffusion_lit.reproduction import Claim, Results

BASELINES = ("biharmonic", "bicubic", "Gaussian mean")


def claims(results: Results) -> Iterator[Claim]:
    def best(metric: str, data: str, task: str, pick) -> float:
        baselines = [result for name in BASELINES for result in results.at(data=data, task=task, method=name)]
        values = [
            result.metrics[metric] for result in baselines if metric in result.metrics
        ]  # where it inverts the task
        if not values:
            raise LookupError(f"no baseline at {data}, {task}")
        return pick(values)

    for data in results.axes["data"]:
        for task in results.axes["task"]:
            yield Claim(
                f"{data}, {task}: PSNR of the mean of auto's samples above the best baseline's, dB",
                "bar set before the first run",
                lambda data=data, task=task: (
                    results.mean("psnr", data=data, task=task, method="auto") - best("psnr", data, task, max)
                ),
                at_least=0,
            )
            for metric, words in {"lpips_sample": "LPIPS", "fd": "Frechet distance"}.items():
                yield Claim(
                    f"{data}, {task}: {words} of a sample of auto over the best baseline's",
                    "bar set before the first run",
                    lambda data=data, task=task, metric=metric: (
                        results.mean(metric, data=data, task=task, method="auto") / best(metric, data, task, min)
                    ),
                    at_most=1,
                )
