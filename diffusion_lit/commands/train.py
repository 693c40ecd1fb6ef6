"""diffusion-lit train [overrides]

Train a denoiser. Overrides are Hydra's: group=option or key=value.

    diffusion-lit train experiment=demo
    diffusion-lit train experiment=mnist seed=1 trainer=gpu logger=wandb
    diffusion-lit train experiment=mnist resume=auto      go on where the run stopped, or start it
    diffusion-lit train experiment=mnist --cfg            print the configuration and stop
    diffusion-lit train -m experiment=mnist seed=0,1      one after the other; as jobs of SLURM: hydra/launcher=submitit
"""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from diffusion_lit.configuration import plain, run_config

__all__ = ["fit", "run"]


def run(words: list[str]) -> int:
    if {"-m", "--multirun"} & set(words):
        from diffusion_lit.commands.multirun import sweep

        return sweep(words, fit)
    config = run_config([word for word in words if word != "--cfg"])
    if "--cfg" in words:
        print(OmegaConf.to_yaml(config, resolve=True))
        return 0
    return fit(config)


def fit(config: DictConfig) -> int:
    """Train the run that `config` describes; return 0 at its end, else what `GracefulStop.exit_code` says."""
    from lightning.fabric.utilities.rank_zero import rank_zero_only

    from diffusion_lit import checkpoint
    from diffusion_lit.callbacks import Checkpoints, GracefulStop, Record
    from diffusion_lit.commands.build import build_all, build_data, build_module, build_trainer, quiet
    from diffusion_lit.resume import starting_point

    quiet()
    tell = rank_zero_only(print)
    folder = Path(str(config.paths.run))
    start, state = starting_point(config.resume, folder) or (None, {})
    data, module = build_data(config), build_module(config)
    if start is not None:
        checkpoint.put(checkpoint.weights(state, 0.0, start), module.denoiser, start)
        if state["diffusion_lit"]["images_seen"] >= config.max_images:
            tell(f"{folder}: trained already ({state['diffusion_lit']['images_seen']:,} images)")
            return 0
    elif config.checkpoint:
        first = checkpoint.locate(config.checkpoint)
        checkpoint.put(checkpoint.weights(checkpoint.read(first), None, first), module.denoiser, first)

    settings = plain(config)
    callbacks = {"record": Record(str(folder), settings, config.max_images), **build_all(config.callbacks)}
    for callback in callbacks.values():
        if isinstance(callback, Checkpoints):
            callback.describe(settings["model"]["denoiser"], data.shape)
    trainer = build_trainer(config, callbacks, max_steps=-(-config.max_images // config.batch_size))
    trainer.fit(module, datamodule=data, ckpt_path=start, weights_only=True)

    stop = next((c for c in callbacks.values() if isinstance(c, GracefulStop)), None)
    if stop is not None and stop.stopped:
        trainer.strategy.barrier()  # srun --kill-on-bad-exit ends the others when the first one ends with a code
        tell(f"stopped after {module.images_seen:,} images, all saved. Go on with the same command and resume=auto")
        return stop.exit_code
    tell(f"trained: {folder}  ({module.images_seen:,} images)")
    return 0
