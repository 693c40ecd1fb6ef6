"""diffusion-lit pack SOURCE OUT [key=value ...]

Write the images of a source as WebDataset shards with a manifest.

    diffusion-lit pack mnist5k shards/mnist5k
    diffusion-lit pack image_folder shards/mine path=~/pictures size=64 shards=64
    diffusion-lit pack npz shards/mine path=images.npz --skip-undecodable

Sources: digits mnist5k fashion_mnist photos image_folder idx npz cifar10.
Keys: shards (8), seed (0), and the source's own.
"""

from diffusion_lit.errors import UserError

__all__ = ["run"]


def run(words: list[str]) -> int:
    from diffusion_lit.configuration import parse
    from diffusion_lit.data import pack

    flags = {"--skip-undecodable"} & set(words)
    words = _joined([word for word in words if word not in flags])
    if len(words) < 2 or "=" in words[0] or "=" in words[1]:
        raise UserError("pack: expected SOURCE OUT [key=value ...]; `diffusion-lit pack --help` shows examples")
    source, out, *rest = words
    if bad := [word for word in rest if "=" not in word]:
        raise UserError(f"pack: {bad[0]!r} is not key=value; `diffusion-lit pack --help` shows examples")
    pairs = [word.split("=", 1) for word in rest]
    arguments = {key.replace("-", "_"): parse(key, text) for key, text in pairs}
    pack(source, out, skip_undecodable=bool(flags), **arguments)
    return 0


def _joined(words: list[str]) -> list[str]:
    """`--shards 4` and `--shards=4` mean shards=4, as the error messages write it."""
    result: list[str] = []
    for word in words:
        if result and result[-1].startswith("--") and "=" not in result[-1]:
            result[-1] += f"={word}"
        else:
            result.append(word)
    return [word.lstrip("-") for word in result]
