"""Configurations: compose them with Hydra, name the run, build the objects, refuse what is not known."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from diffusion_lit.errors import UserError
from diffusion_lit.tracking.identity import run_identity

__all__ = [
    "compose_config",
    "config_folder",
    "moved",
    "named",
    "override",
    "parse",
    "plain",
    "run_config",
    "settled",
    "split_arguments",
]


def config_folder() -> Path:
    """The shipped configurations: inside the installed package, or beside it in a source tree."""
    package = Path(__file__).parent
    return next(folder for folder in (package / "configs", package.parent / "configs") if folder.is_dir())


def compose_config(name: str, overrides: Sequence[str]) -> DictConfig:
    """Compose configs/NAME.yaml with Hydra overrides such as experiment=demo or seed=1.

    Raises:
        UserError: an unknown key, group, option or malformed override; the message names it.
    """
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(config_folder()), version_base="1.3"):
            return compose(name, list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        cause = error.__cause__
        reason = " ".join(str(error).split()) + (f" ({' '.join(str(cause).split())})" if cause else "")
        raise UserError(
            f"the configuration does not fit: {reason}. Given were {' '.join(overrides)}; keys and groups are in "
            f"{config_folder()}; a new key is added with +key=value."
        ) from error


def run_config(overrides: Sequence[str]) -> DictConfig:
    """Compose a training run and name it: `run_identity` is a hash of all that can change its result."""
    return named(compose_config("train", overrides))


def named(config: DictConfig) -> DictConfig:
    """The composed configuration of a training run with its `run_identity`."""
    OmegaConf.update(config, "run_identity", "0" * 10, force_add=True)
    config.run_identity = run_identity(plain(config))
    return config


def plain(config: Any) -> Any:
    """The resolved configuration as dicts, lists, strings and numbers.

    Raises:
        UserError: an interpolation leads nowhere or a mandatory value is missing.
    """
    try:
        return OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(f"the configuration does not resolve: {' '.join(str(error).split())}") from error


def moved(config: Any, old: str, new: str) -> Any:
    """A plain configuration whose paths at or under `old` are at or under `new`."""
    if isinstance(config, dict):
        return {key: moved(value, old, new) for key, value in config.items()}
    if isinstance(config, list):
        return [moved(value, old, new) for value in config]
    if isinstance(config, str) and (config == old or config.startswith(f"{old}/")):
        return new + config.removeprefix(old)
    return config


def settled(config: DictConfig, there: Mapping[str, Any], folder: Path) -> DictConfig:
    """A stored configuration whose run stands in `folder` now.

    config.yaml is resolved: what named the run folder or the shards then must name them where they are now.

    Args:
        config: the stored configuration with its overrides.
        there: the same as it was stored.
        folder: the run folder.
    """
    here = moved(plain(config), str(there["data"]["root"]), str(config.data.root))
    return DictConfig(moved(here, there["paths"]["run"], str(folder)))


def parse(key: str, text: str) -> Any:
    """The value that `text` means in key=text: a number, a string, a list, null ...

    Raises:
        UserError: it is no value.
    """
    try:
        return OmegaConf.from_dotlist([f"value={text}"]).value
    except (YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{key}={text}: is no value ({' '.join(str(error).split())}); put text into quotes") from error


def override(config: DictConfig, overrides: Sequence[str]) -> DictConfig:
    """Change values of a stored configuration by key=value; +key=value adds one.

    Raises:
        UserError: a key that the configuration does not have.
    """
    for word in overrides:
        key, found, value = word.partition("=")
        new, key = key.startswith("+"), key.lstrip("+")
        if not found:
            raise UserError(f"{word!r}: expected key=value")
        parsed = parse(key, value)
        if not new and OmegaConf.select(config, key, default="<missing>") == "<missing>":
            names = ", ".join(map(str, config))
            raise UserError(f"unknown key {key!r}; the configuration has {names}; +{word} adds a new one")
        OmegaConf.update(config, key, parsed, force_add=new, merge=False)
    return config


def split_arguments(
    words: Sequence[str], defaults: Mapping[str, str | int | float]
) -> tuple[dict[str, Any], list[str]]:
    """Split key=value words into a command's own arguments, typed like their defaults, and the words left over.

    Raises:
        UserError: a word without "=", or a value that is not of the default's type.
    """
    values: dict[str, Any] = dict(defaults)
    rest: list[str] = []
    for word in words:
        key, found, text = word.partition("=")
        if not found:
            raise UserError(f"{word!r}: expected key=value; keys are {', '.join(defaults)}")
        if key not in defaults:
            rest.append(word)
            continue
        default = defaults[key]
        value = text if isinstance(default, str) else parse(key, text)
        if not isinstance(default, str) and (not isinstance(value, (int, float)) or type(default)(value) != value):
            raise UserError(f"{key}={text}: expected a number such as {default}")
        values[key] = type(default)(value)
    return values, rest
