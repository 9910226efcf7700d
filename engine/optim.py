"""The optimizers: Muon for the matrices inside the blocks, AdamW for embeddings and gains."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from engine.config import OptimizerConfig

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
    x = stack.mT if tall else stack
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * safety).clamp(min=1e-7)
    for a, b, c in coefficients:
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon:
    """Momentum, made orthogonal, on stacks of matrices that have one role and one shape.

    update = orthogonalize(Nesterov momentum) * sqrt(max(1, rows / columns)); the momentum is an fp32 moving average.
    With equal coefficients it steps as `torch.optim.Muon` does, many matrices at a time.
    """

    def __init__(
        self,
        stacks: dict[str, list[nn.Parameter]],
        momentum: float,
        weight_decay: float,
        dtype: torch.dtype,
        coefficients: Sequence[tuple[float, float, float]] = POLAR_EXPRESS,
        safety: float = SAFETY,
    ) -> None:
        self.stacks, self.momentum, self.weight_decay, self.dtype = stacks, momentum, weight_decay, dtype
        self.coefficients, self.safety = coefficients, safety
        self.averages = {
            role: torch.zeros(len(matrices), *matrices[0].shape, device=matrices[0].device)
            for role, matrices in stacks.items()
        }

    @torch.no_grad()
    def step(self, learning_rate: float, finite: Tensor | None = None) -> None:
        """One update from the gradients in place; where the flag `finite` is false nothing changes, not one bit."""
        for role, matrices in self.stacks.items():
            weights: list[Tensor] = list(matrices)
            gradient = torch.stack([_gradient(matrix) for matrix in matrices])
            average = self.averages[role]
            if finite is None:
                average.lerp_(gradient, 1 - self.momentum)
            else:
                torch.where(finite, average.lerp(gradient, 1 - self.momentum), average, out=average)
            direction = gradient.lerp_(average, self.momentum).to(self.dtype)
            update = orthogonalize(direction, self.coefficients, self.safety).float()
            rate = learning_rate * math.sqrt(max(1.0, update.shape[-2] / update.shape[-1]))
            shrink = torch.full((), 1 - learning_rate * self.weight_decay, device=update.device)
            if finite is not None:
                update.masked_fill_(~finite, 0.0)
                shrink.masked_fill_(~finite, 1.0)  # `where` with plain numbers would copy them to a GPU and wait
            if self.weight_decay:
                torch._foreach_mul_(weights, shrink)
            torch._foreach_add_(weights, list(update.unbind()), alpha=-rate)


class Optimizers(torch.optim.Optimizer):
    """Both optimizers as one, so that a gradient scaler takes it: every parameter is in exactly one of them."""

    def __init__(self, model: nn.Module, config: OptimizerConfig, muon_dtype: torch.dtype) -> None:
        super().__init__(model.parameters(), {})
        self.config = config
        matrices: dict[str, list[nn.Parameter]] = {}
        self.others: dict[str, nn.Parameter] = {}
        for name, parameter in model.named_parameters():
            if name.startswith("layers.") and parameter.dim() == 2:
                role = name.split(".", 2)[2].removesuffix(".weight")
                matrices.setdefault(role, []).append(parameter)
            else:
                self.others[name] = parameter
        count = sum(map(len, matrices.values())) + len(self.others)
        assert count == len(list(model.parameters())), "a parameter is in no group or in two"
        coefficients, safety = ORTHOGONALIZERS[config.orthogonalizer]
        self.muon = Muon(matrices, config.momentum, config.weight_decay, muon_dtype, coefficients, safety)
        self.adamw = torch.optim.AdamW(
            list(self.others.values()),
            lr=config.adamw_lr,
            betas=(config.beta1, config.beta2),
            eps=config.adamw_eps,
            weight_decay=config.adamw_weight_decay,
            fused=True,
        )

    def step(self, factor: float, finite: Tensor | None = None) -> None:  # type: ignore[override]
        """One update at `factor` of the highest learning rates.

        `finite` is a flag on the device: where it is false, weights, averages and counts stay as they are, and the host
        need not wait to know. Without it every update is made.
        """
        if finite is not None and finite.is_cpu:  # can be read without waiting, which costs less than masking
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

    def tensors(self) -> dict[str, Tensor]:
        """Everything the optimizers remember, as named tensors for safetensors."""
        tensors = {f"muon.{role}": average for role, average in self.muon.averages.items()}
        for name, parameter in self.others.items():
            tensors |= {f"adamw.{name}.{key}": value for key, value in self.adamw.state[parameter].items()}
        return tensors

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `tensors` gave."""
        for role, average in self.muon.averages.items():
            average.copy_(tensors[f"muon.{role}"])
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
