"""Ways to run one layer of M networks, forward and backward: which is fastest for which shape.

Linear: a loop over members, a batched product with features innermost, and with rows innermost. Convolution: a loop, a
grouped convolution on tensors with the members in their channels, and the same with the members brought into the
channels and out again. `motet.layers.StackedLinear`, `StackedConvolution` and `Stack` choose by this record.
"""

import itertools
import sys
import time
from collections.abc import Callable

import torch
from _harness import ratios_in_turn, record
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

ROUNDS = 15
LINEAR = [
    (4, 32, 16, 16),
    (4, 100, 256, 10),
    (4, 128, 256, 256),
    (16, 100, 64, 10),
    (64, 32, 16, 16),
    (256, 100, 4, 10),
]
CONVOLUTION = list(itertools.product([4], [4, 16, 64], [16, 64], [8, 16, 32]))


def main() -> int:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    result: dict[str, dict[str, object]] = {"linear": {}, "convolution": {}}
    for members, rows, inputs, outputs in LINEAR:
        name = f"M={members} B={rows} F={inputs} K={outputs}"
        result["linear"][name] = measured(linear(members, rows, inputs, outputs))
        print("linear", name, shown(result["linear"][name]), flush=True)
    for members, rows, channels, size in CONVOLUTION:
        name = f"M={members} B={rows} C={channels} {size}x{size}"
        table = measured(convolution(members, rows, channels, size))
        result["convolution"][name] = {"entries": members * rows * channels * size**2} | table
        print("convolution", name, shown(table), flush=True)
    settings = {"rounds": ROUNDS, "threads": 1, "kernel": "3x3", "baseline": "loop", "pass": "forward and backward"}
    return record("member_layers", settings, result, bounds={})


def measured(ways: dict[str, Callable[[], list[Tensor]]]) -> dict[str, object]:
    outputs = [way() for way in ways.values()]
    for other in outputs[1:]:
        torch.testing.assert_close(other[0], outputs[0][0], rtol=1e-3, atol=1e-3)

    def timed(way: Callable[[], list[Tensor]]) -> Callable[[], float]:
        def once() -> float:
            start = time.perf_counter()
            way()
            return time.perf_counter() - start

        return once

    run = {name: timed(way) for name, way in ways.items()}
    return dict(ratios_in_turn(run, baseline="loop", rounds=ROUNDS))


def linear(members: int, rows: int, inputs: int, outputs: int) -> dict[str, Callable[[], list[Tensor]]]:
    x_MBF = torch.randn(members, rows, inputs)
    weights = torch.randn(members, outputs, inputs, requires_grad=True)
    alone = [weight.detach().clone().requires_grad_() for weight in weights]
    xs = [x.clone().requires_grad_() for x in x_MBF]
    inner = x_MBF.transpose(0, 1).flatten(1).contiguous().requires_grad_()
    last = x_MBF.transpose(1, 2).flatten(0, 1).contiguous().requires_grad_()
    g_MBK = torch.randn(members, rows, outputs)

    def loop() -> list[Tensor]:
        outs = [F.linear(x, weight) for x, weight in zip(xs, alone, strict=True)]
        torch.autograd.grad(outs, [*xs, *alone], list(g_MBK))
        return [torch.stack(outs)]

    def features_innermost() -> list[Tensor]:
        out = torch.bmm(inner.unflatten(1, (members, -1)).transpose(0, 1), weights.transpose(1, 2))
        torch.autograd.grad(out, [inner, weights], g_MBK)
        return [out]

    def rows_innermost() -> list[Tensor]:
        out = torch.bmm(weights, last.unflatten(0, (members, -1))).transpose(1, 2)
        torch.autograd.grad(out, [last, weights], g_MBK)
        return [out]

    return {"loop": loop, "features_innermost": features_innermost, "rows_innermost": rows_innermost}


def convolution(members: int, rows: int, channels: int, size: int) -> dict[str, Callable[[], list[Tensor]]]:
    x_MB = torch.randn(members, rows, channels, size, size)
    weight = torch.randn(members * channels, channels, 3, 3, requires_grad=True)
    alone = [part.detach().clone().requires_grad_() for part in weight.chunk(members)]
    xs = [x.clone().requires_grad_() for x in x_MB]
    stacked = x_MB.transpose(0, 1).flatten(1, 2).contiguous().requires_grad_()
    folded = x_MB.flatten(0, 1).clone().requires_grad_()
    g_MB = torch.randn(members, rows, channels, size, size)
    g_stacked = g_MB.transpose(0, 1).flatten(1, 2).contiguous()

    def loop() -> list[Tensor]:
        outs = [F.conv2d(x, part, padding=1) for x, part in zip(xs, alone, strict=True)]
        torch.autograd.grad(outs, [*xs, *alone], list(g_MB))
        return [torch.stack(outs)]

    def grouped() -> list[Tensor]:
        out = F.conv2d(stacked, weight, padding=1, groups=members)
        torch.autograd.grad(out, [stacked, weight], g_stacked)
        return [out.unflatten(1, (members, -1)).transpose(0, 1)]

    def in_and_out() -> list[Tensor]:
        x = folded.unflatten(0, (members, -1)).transpose(0, 1).flatten(1, 2)
        out = F.conv2d(x, weight, padding=1, groups=members)
        out = out.unflatten(1, (members, -1)).transpose(0, 1).flatten(0, 1)
        torch.autograd.grad(out, [folded, weight], g_MB.flatten(0, 1))
        return [out.unflatten(0, (members, -1))]

    return {"loop": loop, "grouped": grouped, "in_and_out": in_and_out}


def shown(table: object) -> str:
    assert isinstance(table, dict)
    return " ".join(f"{name} {way['ratio']:.2f}" for name, way in table.items())


if __name__ == "__main__":
    sys.exit(main())
