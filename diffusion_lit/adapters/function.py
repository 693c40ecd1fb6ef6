"""Any function that predicts eps, x_0, v or a score, made a denoiser in one line."""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from diffusion_lit.denoise import Batch, Denoiser, Interpolated, Posterior, Preconditioning
from diffusion_lit.errors import UserError
from diffusion_lit.noise import DiscreteVP, Schedule

__all__ = ["FunctionDenoiser"]


def _chain(schedule: Schedule) -> int:
    if not isinstance(schedule, DiscreteVP):
        raise UserError(
            f"time: a {type(schedule).__name__} schedule has no steps to count; give a DiscreteVP, or a function of t, "
            f"such as time=lambda t: 999 * t"
        )
    return schedule.steps


#: How a network is told the time: name -> (schedule, t in [0, 1]) -> what it takes.
_TIMES: dict[str, Callable[[Schedule, Tensor], Tensor]] = {
    "t": lambda schedule, t: t,
    "step": lambda schedule, t: (_chain(schedule) * t - 1).clamp_min(0),
    "index": lambda schedule, t: (_chain(schedule) * t - 1).round().clamp_min(0).long(),
    "sigma": lambda schedule, t: (-schedule.log_snr(t) / 2).exp(),
    "log_snr": lambda schedule, t: schedule.log_snr(t),
}


class FunctionDenoiser(Denoiser):
    """D = c_skip x_t + c_out f(x_t, time): what f predicts says c_skip and c_out (`Preconditioning`).

        FunctionDenoiser(net, "eps", DiscreteVP.linear(1000), time="step")         DDPM and its kin
        FunctionDenoiser(net, "score", VP(), time=lambda t: 999 * t)               Score-SDE's continuous VP
        FunctionDenoiser(net, "x0", EDM(), time="sigma")                           a denoiser D(x, sigma)
        FunctionDenoiser(lambda x, n: net(x, n)["out"], "v", Cosine(), time="log_snr", network=net)

    Args:
        f: (x_t (B, *), time (B,), **condition) -> (B, *), differentiable by autograd; data in the units of x_0, for
            images [-1, 1]. It gets x_t as it is: a network that wants it scaled is wrapped in a function that does so.
        predicts: "eps", "x0", "v" (= alpha eps - sigma x_0 if alpha^2 + sigma^2 = 1) or "score", or a Preconditioning,
            of which c_skip and c_out are used.
        schedule: the noise that f was trained for.
        time: what f takes for t in [0, 1]: "t" itself; "step", 0 .. T - 1 of a DiscreteVP, t = (step + 1) / T, with
            fractions between, in the dtype of x_t; "index", the nearest step as an int64; "sigma" = sigma_t / alpha_t;
            "log_snr" = log(alpha_t^2 / sigma_t^2); or a function of t (B,), in float64, whose result is cast to the
            dtype of x_t unless it is of integers.
        variance: f returns (B, 2 C, ...), prediction and variance (Nichol & Dhariwal 2021): see `NetworkDenoiser`;
            Interpolated(T) for a chain of T steps.
        network: what f calls, so that `.to(device)` moves it and samples are made where it is; f itself if it is a
            module. Without one, samples are made on the CPU in float32.

    Raises:
        UserError: no such prediction or time, steps of a schedule that has none, or f returns another shape.
    """

    def __init__(
        self,
        f: Callable[..., Tensor],
        predicts: str | Preconditioning,
        schedule: Schedule,
        time: str | Callable[[Tensor], Tensor] = "t",
        variance: Interpolated | None = None,
        network: nn.Module | None = None,
    ):
        super().__init__(schedule)
        if isinstance(time, str):
            if time not in _TIMES:
                raise UserError(f"time: {time!r} is none of {', '.join(_TIMES)}, nor is it a function of t")
            if time in ("step", "index"):
                _chain(schedule)
            named = _TIMES[time]
            self.time: Callable[[Tensor], Tensor] = lambda t: named(schedule, t)
        else:
            self.time = time
        self.f, self.network, self.variance = f, network, variance
        self.form = Preconditioning.named(predicts) if isinstance(predicts, str) else predicts

    def forward(self, x_t: Batch, t: Float[Tensor, "*times"], **condition) -> Posterior:
        t = t.double().to(x_t.device)
        alpha, sigma = self.schedule(t)
        time = self.time(t.expand(len(x_t)))
        output = self.f(x_t, time.to(x_t.dtype) if time.is_floating_point() else time, **condition)
        self._check(output, x_t)
        if self.variance is None:
            return Posterior(self.form.mean(output, x_t, alpha, sigma))
        output, fraction = output.chunk(2, dim=1)
        return Posterior(self.form.mean(output, x_t, alpha, sigma), self.variance((fraction + 1) / 2, self.schedule, t))

    def _check(self, output: object, x_t: Tensor) -> None:
        due = tuple(x_t.shape) if self.variance is None else (len(x_t), 2 * x_t.shape[1], *x_t.shape[2:])
        if isinstance(output, Tensor) and tuple(output.shape) == due:
            return
        got = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else f"a {type(output).__name__}"
        learned = isinstance(output, Tensor) and output.ndim > 1 and output.shape[1] == 2 * x_t.shape[1]
        mend = (
            "it also predicts a variance: give variance=Interpolated(T), or a function that returns the first half"
            if learned and self.variance is None
            else "give a function that returns such a tensor"
        )
        raise UserError(f"f returned {got} for x_t of shape {tuple(x_t.shape)}, expected {due}; {mend}")
