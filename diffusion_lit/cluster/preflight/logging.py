"""W&B: whether it is used, and if it is online whether it would answer. It never stops a run."""

from collections.abc import Mapping
from typing import Any

import requests

from diffusion_lit.cluster.preflight.result import Result, fine, warns

__all__ = ["wandb_mode"]

_SECONDS = 2.0


def wandb_mode(loggers: Mapping[str, Any], variables: Mapping[str, str]) -> Result:
    """Tell where the run is logged; the server is asked only if the run would ask it.

    Args:
        loggers: the group of the configuration.
        variables: of the environment.
    """
    ours = [entry for entry in loggers.values() if str(entry.get("_target_", "")).endswith("WandbLogger")]
    mode = variables.get("WANDB_MODE", "")
    if not ours or mode == "disabled":
        why = "WANDB_MODE=disabled" if ours else "logger=default keeps its file, logger=wandb sends it"
        return fine(f"not used ({why}); metrics.jsonl is always written")
    if ours[0].get("offline", True) or mode in ("offline", "dryrun"):
        return fine("offline: it touches no network; diffusion-lit upload RUN sends the run")
    from wandb import Settings  # half a second, and only needed here

    settings = Settings()
    settings.update_from_env_vars(dict(variables))
    server = settings.base_url
    try:
        requests.get(server, timeout=_SECONDS)
    except requests.RequestException as error:
        return warns(
            f"online, but {server} does not answer ({type(error).__name__}); training goes on without",
            "logger=default, and diffusion-lit upload RUN where there is a network",
        )
    if not settings.api_key and requests.utils.get_netrc_auth(server) is None:  # type: ignore[attr-defined]
        return warns(f"online, but not logged in to {server}; training goes on without", "wandb login")
    return fine(f"online: {server} answers, and there is a key")
