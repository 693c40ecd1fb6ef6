"""Axes such as seed=0,1,2: Hydra's sweep syntax, spread over the elements of a job array."""

from collections.abc import Sequence
from itertools import product

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from diffusion_lit.configuration import config_folder
from diffusion_lit.errors import UserError

__all__ = ["spread"]


def spread(words: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """Split overrides into those that all elements share and those of each element.

    An axis is written as for Hydra's own sweeper: seed=0,1,2, seed=range(3), model=choice(unet,dit), data=glob(*), or
    listed in a file of hparams_search.

    Args:
        words: overrides of `diffusion-lit train`.

    Returns:
        What all share, in order, and the words of each element: every combination, the last axis running fastest;
        one element without words if there are no axes.

    Raises:
        UserError: a word that is no override, or a sweep that is no list of values.
    """
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            parser = OverridesParser.create(GlobalHydra.instance().config_loader())
            if search := [word for word in words if word.lstrip("+").startswith("hparams_search=")]:
                params = compose("train", search, return_hydra_config=True).hydra.sweeper.params
                given = {override.get_key_element() for override in parser.parse_overrides(list(words))}
                words = [*(f"{key}={value}" for key, value in params.items() if key not in given), *words]
            overrides = parser.parse_overrides(list(words))
            common = [word for word, override in zip(words, overrides) if not override.is_sweep_override()]
            axes: dict[str, list[str]] = {}
            for override in overrides:
                if not override.is_sweep_override():
                    continue
                if not override.is_discrete_sweep():
                    raise UserError(f"{override.input_line}: has no list of values; take choice(...) or range(...)")
                key = override.get_key_element()
                axes[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
    except HydraException as error:
        raise UserError(f"{' '.join(words)}: {' '.join(str(error).split())}") from error
    return common, [list(element) for element in product(*axes.values())]
