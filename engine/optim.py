"""The optimizers: Muon for the matrices inside the blocks, AdamW for embeddings, gains and routers."""

import contextlib
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from engine.config import OptimizerConfig
from engine.experts import ROUTER
from engine.stacks import stack_parameters

POLAR_EXPRESS = (
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
)
"""Five steps of the Polar Express iteration with a safety factor of 2% (Amsel et al. 2025, arXiv 2505.16932)."""
SAFETY = 1.02
NEWTON_SCHULZ = ((3.4445, -4.7750, 2.0315),) * 5
"""The iteration Muon was first published with (Jordan et al. 2024); it needs no safety factor."""
ORTHOGONALIZERS = {"polar-express": (POLAR_EXPRESS, SAFETY), "newton-schulz": (NEWTON_SCHULZ, 1.0)}
"""Coefficients and safety factor for each choice of `optimizer.orthogonalizer`."""


def orthogonalize(
    stack: Tensor, coefficients: Sequence[tuple[float, float, float]] = POLAR_EXPRESS, safety: float = SAFETY
) -> Tensor:
    """Nearest semi-orthogonal matrix of each matrix in `stack` [count, m, n], by odd polynomials of degree five.

    Runs in the precision of `stack`; bf16 is enough (Jordan et al. 2024, Muon).
    """
    tall = stack.shape[-2] > stack.shape[-1]
    x: Tensor = stack / (stack.norm(dim=(-2, -1), keepdim=True) * safety).clamp(min=1e-7)
    for a, b, c in coefficients:
        gram = x.mT @ x if tall else x @ x.mT  # the smaller of the two
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        factor.diagonal(dim1=-2, dim2=-1).add_(a)
        x = x @ factor if tall else factor @ x
    return x


class Muon:
    """Momentum, made orthogonal, on stacks of matrices that have one role and one shape.

    A parameter is one matrix [m, n], or several [experts, m, n], each of which is made orthogonal on its own.
    update = orthogonalize(Nesterov momentum) * sqrt(max(1, rows / columns)); the momentum is an fp32 moving average.
    With equal coefficients it steps as `torch.optim.Muon` does, many matrices at a time: the parameters of a role
    become views of one stack [count, m, n].
    """

    def __init__(
        self,
        stacks: dict[str, list[nn.Parameter]],
        momentum: float,
        weight_decay: float,
        dtype: torch.dtype,
        coefficients: Sequence[tuple[float, float, float]] = POLAR_EXPRESS,
        safety: float = SAFETY,
        *,
        cautious: bool = False,
        neuron_memory: float = 0.0,
    ) -> None:
        """`cautious`: decay only weights that the update shrinks anyway (Chen et al. 2025, arXiv 2510.12402).

        `neuron_memory`: above 0, each row of an update is scaled by a moving root mean square of its size, with this
        memory, and the whole keeps its length (NorMuon, Li et al. 2025, arXiv 2510.05491).
        """
        self.stacks, self.momentum, self.weight_decay, self.dtype = stacks, momentum, weight_decay, dtype
        self.coefficients, self.safety = coefficients, safety
        self.cautious, self.neuron_memory = cautious, neuron_memory
        self.fused = False
        self.weights = {role: _flat(stack_parameters(matrices)) for role, matrices in stacks.items()}
        self.averages = {role: torch.zeros_like(weights) for role, weights in self.weights.items()}
        self.neurons = {
            role: torch.zeros_like(weights[..., :1]) for role, weights in self.weights.items() if neuron_memory
        }

    @torch.no_grad()
    def step(self, learning_rate: float, finite: Tensor | None = None) -> None:
        """One update from the gradients in place; where the flag `finite` is false nothing changes, not one bit."""
        for role, matrices in self.stacks.items():
            weights = self.weights[role]
            assert matrices[0].data_ptr() == weights.data_ptr(), f"{role} was moved after its optimizer was made"
            gradient = _flat(torch.stack([_gradient(matrix) for matrix in matrices]))
            direction = self._momentum(gradient, self.averages[role], finite)
            update = orthogonalize(direction, self.coefficients, self.safety)
            sizes = self._row_factors(update, self.neurons[role], finite) if self.neuron_memory else None
            rate = learning_rate * math.sqrt(max(1.0, update.shape[-2] / update.shape[-1]))
            self._apply(weights, update, sizes, rate, learning_rate * self.weight_decay, finite)

    def _momentum(self, gradient: Tensor, average: Tensor, finite: Tensor | None) -> Tensor:
        """Move the average toward the gradient, and look ahead of it (Nesterov); zeros where nothing is to move."""
        if self.fused:
            from engine.kernels import momentum_step

            direction = torch.empty_like(gradient, dtype=self.dtype)
            good = torch.ones((), dtype=torch.bool, device=gradient.device) if finite is None else finite
            count = gradient.numel()
            momentum_step[(-(-count // 4096),)](gradient, average, direction, good, count, self.momentum, 4096)
            return direction
        if finite is None:
            average.lerp_(gradient, 1 - self.momentum)
        else:
            torch.where(finite, average.lerp(gradient, 1 - self.momentum), average, out=average)
            gradient = torch.where(finite, gradient, 0.0)
            average = torch.where(finite, average, 0.0)
        return gradient.lerp_(average, self.momentum).to(self.dtype)

    def _row_factors(self, update: Tensor, neurons: Tensor, finite: Tensor | None) -> Tensor:
        """What each row is multiplied with [count, m, 1]: rows become of one size over time, matrices keep theirs."""
        squares = torch.linalg.vector_norm(update, dim=-1, keepdim=True, dtype=torch.float32).square()
        squares = squares / update.shape[-1]
        moved = neurons.lerp(squares, 1 - self.neuron_memory)
        neurons.copy_(moved if finite is None else torch.where(finite, moved, neurons))
        factors = (neurons + 1e-10).rsqrt()
        before, after = (sizes.sum(dim=-2, keepdim=True) for sizes in (squares, squares * factors.square()))
        length: Tensor = (before / after.clamp(min=1e-20)).sqrt()
        return factors * length

    def _apply(
        self, weights: Tensor, update: Tensor, factors: Tensor | None, rate: float, decay: float, finite: Tensor | None
    ) -> None:
        """weights -= rate * factors * update, and `decay` of the weights, but nothing unless finite."""
        if self.fused:
            from engine.kernels import apply_update

            count, width = weights.numel(), weights.shape[-1]
            good = torch.ones((), dtype=torch.bool, device=weights.device) if finite is None else finite
            scaled = factors is not None
            apply_update[(-(-count // 2048),)](
                weights, update, factors if scaled else update, good, count, width, rate, decay,
                scaled, self.cautious, 2048,
            )  # fmt: skip
            return
        step = update if factors is None else update.float() * factors
        if decay:
            shrink = torch.full((), decay, device=weights.device)
            if finite is not None:
                shrink = shrink * finite
            weights.mul_(1 - shrink * (step * weights > 0) if self.cautious else 1 - shrink)
        weights.add_(step, alpha=-rate)


def _flat(stack: Tensor) -> Tensor:
    """Matrices [count, m, n] of a stack [layers, m, n], or [layers, experts, m, n], in the same memory."""
    return stack.view(-1, *stack.shape[-2:])


class Optimizers(torch.optim.Optimizer):
    """Both optimizers as one, so that a gradient scaler takes it: every parameter is in exactly one of them."""

    def __init__(self, model: nn.Module, config: OptimizerConfig, muon_dtype: torch.dtype) -> None:
        super().__init__(model.parameters(), {})
        self.config = config
        matrices: dict[str, list[nn.Parameter]] = {}
        self.others: dict[str, nn.Parameter] = {}
        for name, parameter in model.named_parameters():
            if name.startswith("layers.") and parameter.dim() > 1 and not name.endswith(ROUTER):
                role = name.split(".", 2)[2].removesuffix(".weight")
                matrices.setdefault(role, []).append(parameter)
            else:
                self.others[name] = parameter
        count = sum(map(len, matrices.values())) + len(self.others)
        assert count == len(list(model.parameters())), "a parameter is in no group or in two"
        coefficients, safety = ORTHOGONALIZERS[config.orthogonalizer]
        self.muon = Muon(
            matrices,
            config.momentum,
            config.weight_decay,
            muon_dtype,
            coefficients,
            safety,
            cautious=config.cautious,
            neuron_memory=config.neuron_memory,
        )
        self.adamw = torch.optim.AdamW(
            list(self.others.values()),
            lr=config.adamw_lr,
            betas=(config.beta1, config.beta2),
            eps=config.adamw_eps,
            weight_decay=config.adamw_weight_decay,
            fused=True,
        )
        self.parameters = dict(model.named_parameters())
        self.averages = {name: one.detach().clone() for name, one in self.parameters.items()} if config.ema else {}

    def step(  # type: ignore[override]
        self, factor: float, finite: Tensor | None = None, momentum: float | None = None
    ) -> None:
        """One update at `factor` of the highest learning rates; `momentum` is Muon's from now on.

        `finite` is a flag on the device: where it is false, weights, averages and counts stay as they are, and the host
        need not wait to know. Without it every update is made.
        """
        if momentum is not None:
            self.muon.momentum = momentum
        # On a CPU it can be read without waiting, which costs less than masking; Apple's fused AdamW ignores found_inf.
        if finite is not None and not finite.is_cuda:
            if not finite:
                return
            finite = None
        self.masked_step(factor, finite)

    def masked_step(self, factor: float, finite: Tensor | None) -> None:
        """The same without ever looking at the flag."""
        self.muon.step(self.config.muon_lr * factor, finite)
        self.adamw.param_groups[0]["lr"] = self.config.adamw_lr * factor
        # What torch's gradient scaler sets too: fused AdamW does nothing where it is 1.
        self.adamw.found_inf = None if finite is None else (~finite).float()  # type: ignore[attr-defined]
        self.adamw.step()
        if self.averages:
            self._move_averages(finite)

    @torch.no_grad()
    def _move_averages(self, finite: Tensor | None) -> None:
        """One step of the exponential moving average of the weights (Polyak and Juditsky 1992)."""
        averages, share = list(self.averages.values()), 1 - self.config.ema
        steps = torch._foreach_sub(list(self.parameters.values()), averages)
        torch._foreach_mul_(steps, share if finite is None else share * finite.float())
        torch._foreach_add_(averages, steps)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """The model has its averaged weights inside, where there are any; in the same memory, and put back after."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, average in self.averages.items():
            own = self.parameters[name].clone()
            self.parameters[name].copy_(average)
            average.copy_(own)

    def tensors(self) -> dict[str, Tensor]:
        """Everything the optimizers remember, as named tensors for safetensors."""
        tensors = {f"muon.{role}": average for role, average in self.muon.averages.items()}
        tensors |= {f"neurons.{role}": sizes for role, sizes in self.muon.neurons.items()}
        for name, parameter in self.others.items():
            tensors |= {f"adamw.{name}.{key}": value for key, value in self.adamw.state[parameter].items()}
        if self.averages:  # they are the model that is kept, so what they are averages of is kept here
            tensors |= {f"raw.{name}": parameter.detach() for name, parameter in self.parameters.items()}
        return tensors

    @torch.no_grad()
    def load_tensors(self, tensors: dict[str, Tensor] | None) -> None:
        """Restore what `tensors` gave, after the model has the weights that were kept; None: they begin anew there.

        A fork may have an average or NorMuon where its parent had none, which begins anew too, or the reverse.
        """
        for name, average in self.averages.items():
            average.copy_(self.parameters[name])
        if tensors is None:
            return
        for name, parameter in self.parameters.items():
            if f"raw.{name}" in tensors:
                parameter.copy_(tensors[f"raw.{name}"])
        for role, average in self.muon.averages.items():
            average.copy_(tensors[f"muon.{role}"])
        for role, sizes in self.muon.neurons.items():
            if f"neurons.{role}" in tensors:
                sizes.copy_(tensors[f"neurons.{role}"])
        for name, parameter in self.others.items():
            prefix = f"adamw.{name}."
            self.adamw.state[parameter] = {
                key.removeprefix(prefix): value.to(parameter.device).clone()
                for key, value in tensors.items()
                if key.startswith(prefix)
            }


def _gradient(parameter: nn.Parameter) -> Tensor:
    assert parameter.grad is not None, "step needs gradients"
    return parameter.grad
