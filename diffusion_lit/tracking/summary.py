"""The final table of a run: flat keys and numbers, picked from the names of an evaluation's metrics."""

from collections.abc import Iterable, Mapping

from diffusion_lit.tracking.words import Number

__all__ = ["summarize_run"]

_SCORES = ("psnr_hidden", "psnr", "ssim", "lpips")


def summarize_run(metrics: Mapping[str, Number], baselines: Iterable[str], **facts: Number) -> dict[str, Number]:
    """Return summary.json of the evaluation `metrics` and the `facts` (images_seen, train_seconds ...).

    The first task of a restoration and its first method give the headline: `psnr_hidden/posterior_mean`,
    `psnr_hidden/sample`, `psnr_hidden/BASELINE`, likewise psnr, ssim and lpips; `misfit_ratio`; `nfe_per_sample`. A
    Frechet distance `fd/alex-256@64/n=1000/...` becomes `fd_alex/model`, `fd_alex/gaussian`, `fd_alex/floor`.
    """
    summary: dict[str, Number] = {}
    restorations = [name.split("/") for name in metrics if name.startswith("restoration/")]
    if restorations:
        task = restorations[0][1]
        method, weights = next(parts[2:4] for parts in restorations if parts[1] == task and len(parts) == 5)
        ours = f"restoration/{task}/{method}/{weights}"
        for score in _SCORES:
            if f"{ours}/{score}" in metrics:
                summary[f"{score}/posterior_mean"] = metrics[f"{ours}/{score}"]
                summary[f"{score}/sample"] = metrics[f"{ours}/{score}_sample"]
            for baseline in baselines:
                if f"restoration/{task}/{baseline}/{score}" in metrics:
                    summary[f"{score}/{baseline}"] = metrics[f"restoration/{task}/{baseline}/{score}"]
        summary["misfit_ratio"] = metrics[f"{ours}/misfit_ratio"]
        summary["nfe_per_sample"] = metrics[f"{ours}/nfe"]
        summary["vjps_per_sample"] = metrics[f"{ours}/vjps"]
    for name, value in metrics.items():
        kind, *rest = name.split("/")
        if kind in {"fd", "kd"}:
            whose = rest[2] if rest[2] in {"gaussian", "floor"} else "model"
            summary[f"{kind}_{rest[0].split('-')[0]}/{whose}"] = value
    return summary | facts
