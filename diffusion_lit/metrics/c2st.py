"""Classifier two-sample test: can a network tell two samples apart?"""

import torch
from jaxtyping import Float
from torch import Tensor

from diffusion_lit.metrics.estimate import Estimate

__all__ = ["c2st"]


def c2st(
    x: Float[Tensor, "n *event"], y: Float[Tensor, "m *event"], *, folds: int = 5, seed: int = 0, max_iter: int = 10_000
) -> Estimate:
    """The held-out accuracy of a classifier of x against y: 0.5 if they are of one law, 1 if they do not overlap.

    As sbibm does it (Lueckmann et al. 2021, "Benchmarking simulation-based inference", appendix M): both z-scored by
    the mean and deviation of x, two hidden layers of 10 d, Adam, 5-fold cross-validation. The standard error is that of
    as many tosses; accuracies below 0.5 happen.

    Args:
        x: reference points.
        y: as many or about as many points.
        folds: of the cross-validation.
        seed: of the folds and of the classifier.
        max_iter: most passes of the classifier; it stops when its loss does.

    Raises:
        ValueError: fewer than `folds` points on a side.
    """
    # seconds to import
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neural_network import MLPClassifier

    if min(len(x), len(y)) < folds:
        raise ValueError(f"x {len(x)} and y {len(y)} points: give at least {folds}, one for each fold")
    x, y = x.double().flatten(1).cpu(), y.double().flatten(1).cpu()
    centre, scale = x.mean(0), x.std(0)
    scale = torch.where(scale > 0, scale, 1.0)
    points = ((torch.cat((x, y)) - centre) / scale).numpy()
    labels = torch.cat((torch.zeros(len(x)), torch.ones(len(y)))).numpy()
    width = 10 * points.shape[1]
    classifier = MLPClassifier((width, width), solver="adam", max_iter=max_iter, random_state=seed)
    splits = KFold(folds, shuffle=True, random_state=seed)
    accuracy = float(cross_val_score(classifier, points, labels, cv=splits, scoring="accuracy").mean())
    return Estimate(accuracy, (accuracy * (1 - accuracy) / len(points)) ** 0.5)
