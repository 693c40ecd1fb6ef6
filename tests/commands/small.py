"""The overrides of a small run: 8x8 digits, a tiny network, 16 steps."""

LIGHTNING = [  # what Lightning 2.6 itself says with torch 2.13, or of small runs
    "ignore:.*LeafSpec:FutureWarning",
    "ignore:.*does not have many workers",
    "ignore:.*but have no `validation_step`",
    "ignore:.*`srun` command is available",
    "ignore:.*isn't a directory|.*exists and is not empty",
]

SMALL = [
    "data=digits",
    "task_name=small",
    "batch_size=16",
    "max_images=256",
    "model.denoiser.network.width=8",
    "model.denoiser.network.fold=0",
    "model.denoiser.network.attention=[]",
    "model.denoiser.network.blocks=1",
    "model.learning_rate.warmup=64",
    "model.learning_rate.cooldown=64",
    "callbacks.log.every=32",
    "callbacks.checkpoint.every=64",
    "callbacks.checkpoint.keep_every=128",
]

EVALUATED = [
    "callbacks.noise_levels.every=128",
    "callbacks.noise_levels.evaluator.n=8",
    "callbacks.samples.every=128",
    "callbacks.samples.evaluator.n=4",
    "callbacks.samples.evaluator.sampler.steps=3",
    "callbacks.restoration.every=128",
    "callbacks.restoration.evaluator.n=4",
    "callbacks.restoration.evaluator.samples=2",
    "callbacks.restoration.evaluator.operators.box12.size=4",
    "callbacks.restoration.evaluator.methods.pigdm.sampler.steps=3",
    "evaluation.loss.evaluator.n=16",
    "evaluation.generation.evaluator.n=64",
    "evaluation.generation.evaluator.sampler.steps=3",
    "evaluation.restoration.evaluator.n=8",
    "evaluation.restoration.evaluator.samples=2",
]
