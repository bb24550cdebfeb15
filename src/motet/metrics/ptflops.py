"""Operations of a network, counted by the convention of MIMMO's tables."""

import math
from collections.abc import Callable
from typing import Any, final

import torch
from jaxtyping import Shaped
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from motet._internal.wording import with_article
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.metrics.cost import counting

_aten = torch.ops.aten


def ptflops(module: nn.Module, example: Shaped[Tensor, "batch ..."], *, distinct: bool = False) -> int:
    """Operations for one example in a forward pass, by the convention of MIMMO (Ferianc and Rodrigues, tables 1 to 3).

    This is the convention of the tool ptflops. A multiply-add counts once (`flops` counts it twice). A bias counts once
    per output, batch norm and other norms twice per output (once without scale and shift), activations once per output,
    pooling once per input value, and a sum of two tensors (residual connection) once per output. Other operations, such
    as softmax and the averages over members and depths, are not counted.

    The tables count MIMO and similar methods with separate inputs for the members, as in training. A prediction for one
    shared input costs less, because the M input kernels are then added to a single kernel.

    Args:
        module: the network.
        example: a batch ``(B, ...)`` of inputs; with `distinct` a batch ``(B, M, ...)`` with M inputs for each example.
        distinct: whether each member of an ensemble receives a separate input (`Ensemble.forward_distinct`).

    Raises:
        InputError: for no rows, and for `distinct` with a module that is not an `Ensemble`.

    >>> ptflops(nn.Sequential(nn.Linear(3, 5), nn.ReLU()), torch.zeros(1, 3))
    25
    """
    run: Callable[[Tensor], Any] = module
    if distinct:
        if not isinstance(module, Ensemble):
            raise InputError(
                "separate inputs for the members need an ensemble",
                got=f"distinct=True and {with_article(type(module).__name__)}",
                fix="Pass an ensemble, the result of a method's wrap, or distinct=False",
            )
        run = module.forward_distinct
    elementwise = _Elementwise()
    # Gradients are enabled because torch may otherwise use fused kernels, whose element-wise operations are not seen.
    with counting(module, example) as counter, elementwise, torch.enable_grad():
        run(example)
    # torch counts 2 for a multiply-add, this convention 1.
    return math.ceil((counter.get_total_flops() / 2 + elementwise.total) / len(example))


@final
class _Elementwise(TorchDispatchMode):
    """Count the operations of the convention other than multiply-adds."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        count = _COUNTS.get(func.overloadpacket)
        if count is not None:
            self.total += count(args, out[0] if isinstance(out, tuple) else out)
        return out


def _bias_of_convolution(args: Any, out: Tensor) -> int:
    return out.numel() if args[2] is not None else 0


def _norm(args: Any, out: Tensor) -> int:
    # args[1] is the weight if the norm has one. Other arguments, such as the number of groups, are not tensors.
    affine = any(isinstance(arg, Tensor) and arg.ndim == 1 for arg in args[1:2])
    return out.numel() * (2 if affine else 1)


def _layer_norm(args: Any, out: Tensor) -> int:
    return out.numel() * (2 if isinstance(args[2], Tensor) else 1)


def _each(args: Any, out: Tensor) -> int:
    return out.numel()


def _pool(args: Any, out: Tensor) -> int:
    read: int = args[0].numel()
    return read if args[0].ndim > 2 else 0


def _sum_of_two(args: Any, out: Tensor) -> int:
    both = isinstance(args[0], Tensor) and isinstance(args[1], Tensor)
    return out.numel() if both and args[0].shape == args[1].shape else 0


_COUNTS: dict[Any, Callable[[Any, Tensor], int]] = {
    _aten.convolution: _bias_of_convolution,
    _aten.addmm: _each,  # the bias; torch counts the product
    _aten.native_batch_norm: _norm,
    _aten._native_batch_norm_legit: _norm,
    _aten._native_batch_norm_legit_no_training: _norm,
    _aten.cudnn_batch_norm: _norm,
    _aten.native_group_norm: _norm,
    _aten.native_layer_norm: _layer_norm,
    **{
        _aten.__getattr__(name): _each
        for activation in ("relu", "leaky_relu", "elu", "hardtanh", "silu", "gelu", "sigmoid", "tanh")
        for name in (activation, f"{activation}_")
        if hasattr(_aten, name)
    },
    **{
        _aten.__getattr__(name): _pool
        for name in (
            "mean",
            "avg_pool1d",
            "avg_pool2d",
            "_adaptive_avg_pool2d",
            "max_pool2d_with_indices",
        )
    },
    _aten.add: _sum_of_two,
    _aten.add_: _sum_of_two,
}
