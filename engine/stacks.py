"""Parameters of one role side by side in memory, so that one operation reaches all of them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


@torch.no_grad()
def stack_parameters(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Make equally shaped parameters views of one tensor [count, *shape], and return it; done again it changes nothing.

    They stay what they were to everybody who has them, as long as nobody gives them other storage (`Module.to` does).
    """
    first = parameters[0]
    steps = [other.data_ptr() - first.data_ptr() for other in parameters]
    # Neighbours need not be one: a GPU's allocator puts tensors side by side too, each with storage of its own.
    together = len({other.untyped_storage().data_ptr() for other in parameters}) == 1
    if together and steps == [number * first.nbytes for number in range(len(parameters))] and not first.is_meta:
        return first.detach().as_strided((len(parameters), *first.shape), (first.numel(), *first.stride()))
    whole = torch.stack([parameter.detach() for parameter in parameters])
    for parameter, part in zip(parameters, whole, strict=True):
        parameter.data = part
    return whole
