"""Per-sample randomness: sample i depends on (seed, id_i) and on nothing else.

A counter-based generator: value number c of the stream (seed, id) is a hash of the three integers. So a sample is the
same (to rounding) in any batch, at any batch size, in any order, on any number of processes and on any device, without
one generator object per sample. The hash is the finaliser of SplitMix64 (Steele, Lea & Flood 2014, "Fast splittable
pseudorandom number generators"), the normals are Box-Muller's.
"""

import math

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

__all__ = ["Randomness", "beside", "digest", "weyl"]

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)  # 2^64 / golden ratio, as a signed 64-bit integer
_MIX_1 = 0xBF58476D1CE4E5B9 - (1 << 64)
_MIX_2 = 0x94D049BB133111EB - (1 << 64)


def _shift_right(z: Int64[Tensor, "*shape"], bits: int) -> Int64[Tensor, "*shape"]:
    """Shift logically: torch's >> on int64 keeps the sign."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _mix(z: Int64[Tensor, "*shape"]) -> Int64[Tensor, "*shape"]:
    """Hash 64 bits to 64 bits, one to one (the finaliser of SplitMix64; arithmetic modulo 2^64)."""
    z = (z ^ _shift_right(z, 30)) * _MIX_1
    z = (z ^ _shift_right(z, 27)) * _MIX_2
    return z ^ _shift_right(z, 31)


class Randomness:
    """One stream of random numbers for each id.

    Args:
        seed: any integer of at most 63 bits.
        ids: (B,) integers that name the samples, or (B, K) where K integers name one together.
        device: where the numbers are made; the same numbers, to rounding, on every device.
    """

    def __init__(self, seed: int, ids: Int64[Tensor, "batch *names"], device: torch.device | str | None = None):
        ids = ids.to(device) if device is not None else ids
        key = _mix(torch.full((len(ids),), seed, dtype=torch.int64, device=ids.device) + _GOLDEN)
        for name in ids.reshape(len(ids), math.prod(ids.shape[1:])).unbind(1):  # a batch may be empty
            key = _mix((key ^ _mix(name + _GOLDEN)) + _GOLDEN)
        self._key = key
        self._drawn = 0  # how many 64-bit words each stream has given so far

    def _words(self, count: int) -> Int64[Tensor, "batch count"]:
        counter = torch.arange(self._drawn + 1, self._drawn + count + 1, device=self._key.device)
        self._drawn += count
        return _mix(self._key[:, None] + counter * _GOLDEN)

    def uniform(self, *event: int) -> Float64[Tensor, "batch *event"]:
        """Draw (B, *event) numbers, uniform in the open interval (0, 1), in float64."""
        words = self._words(math.prod(event))
        return (_shift_right(words, 12).double().add(0.5) * 2.0**-52).reshape(len(words), *event)

    def normal(self, *event: int, dtype: torch.dtype = torch.float32) -> Float[Tensor, "batch *event"]:
        """Draw (B, *event) standard normal numbers; one 64-bit word gives two by Box-Muller's transform."""
        count = math.prod(event)
        words = self._words((count + 1) // 2)
        # |z| <= sqrt(2 log 2^33) = 6.76: the tail beyond it has mass 1.4e-11.
        work = torch.promote_types(dtype, torch.float32)
        radius = (_shift_right(words, 32).to(work).add_(0.5).mul_(2.0**-32)).clamp_(max=1.0).log_().mul_(-2).sqrt_()
        angle = (words & 0xFFFFFFFF).to(work).mul_(2 * math.pi * 2.0**-32)
        pair = torch.stack((radius * angle.cos(), radius * angle.sin()), dim=-1)
        return pair.flatten(1)[:, :count].to(dtype).reshape(len(words), *event)


def beside(ids: Int64[Tensor, "batch *names"], stream: int) -> Int64[Tensor, "batch more_names"]:
    """Name another stream of the same samples: (B,) or (B, K) integers and one more, (B, 2) or (B, K + 1)."""
    names = ids.reshape(len(ids), math.prod(ids.shape[1:]))
    return torch.cat((names, names.new_full((len(ids), 1), stream)), dim=1)


def digest(ids: Int64[Tensor, "batch *names"]) -> Int64[Tensor, ""]:
    """Hash a set of rows of integers to one number: the sum of their hashes modulo 2^64.

    The digest of a union is the sum of the digests, so it does not depend on order, batches or processes.
    """
    return Randomness(0, ids)._key.sum()


def weyl(seed: int, positions: Int64[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Draw u_p = frac(u_0 + p / golden ratio): uniform in (0, 1), evenly spread over any run of consecutive positions.

    The additive-recurrence form of the stratified time of VDM (Kingma et al. 2021, appendix I.1): a pure function of
    (seed, position), so that it depends neither on the batch size nor on the number of processes.

    Args:
        seed: names the shift u_0.
        positions: (B,) positions in the training stream.
    """
    start = _mix(torch.tensor(seed, dtype=torch.int64, device=positions.device) + _GOLDEN)
    words = start + positions * _GOLDEN  # modulo 2^64 = modulo 1 in units of 2^-64
    return _shift_right(words, 12).double().add(0.5) * 2.0**-52
