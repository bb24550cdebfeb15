"""Initial templates and coefficients."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from motet.layers import Bank, TemplateBank
from motet.surgery import fresh_like

# How far members start from a model that is kept, in all their layers together; of the weights' own spread.
_NUDGE = 0.1
_STEPS = 100
_DRAWS = 32
_SOLUTIONS, _SOLVED_ENTRIES = 8, 2**20
_TOLERANCE = 1e-12


@torch.no_grad()
def draw_entries(weights: Sequence[Tensor], number: int) -> Tensor:
    """Entries of a bank, ``(n,)``: the layers' own weights in random order, as `fresh_like` draws them.

    Layers may have been drawn with different deviations. Each is brought to the largest of them, and its coefficients
    take it back (`draw_coefficients`).
    """
    if weights[0].is_meta:
        return weights[0].new_empty(number)
    scales = _scales(weights)
    live = [(weight, scale) for weight, scale in zip(weights, scales, strict=True) if scale > 0]
    if not live:  # all zeros, as some models start their last layers
        return weights[0].new_zeros(number)
    pool = torch.cat([(weight / scale).flatten() for weight, scale in live])
    return torch.cat([fresh_like(pool) for _ in range(math.ceil(number / len(pool)))])[:number].to(weights[0])


@torch.no_grad()
def draw_coefficients(weights: Sequence[Tensor], counts: Sequence[int], members: int) -> Tensor:
    """Every member's own initial coefficients, ``(M, R)``.

    Layers with equally many templates get the rows of an orthogonal matrix (Savarese and Maire 2019), each scaled to
    length 1: the composed weights then have the variance of the templates, whatever the number of layers. Each layer
    is scaled further by its own initial deviation over that of the bank.

    With one template the row is 1 or -1, and members might start equal, see the same batches, and stay equal for
    ever. So a tenth of noise is added there.
    """
    rows_MLT: list[list[Tensor]] = []
    for _ in range(members):
        rows: dict[int, Tensor] = {}
        for templates in set(counts):
            matrix = torch.empty(counts.count(templates), templates, dtype=torch.float64)
            matrix = nn.functional.normalize(nn.init.orthogonal_(matrix), dim=1)
            rows[templates] = matrix * (1 + _NUDGE * torch.randn_like(matrix)) if templates == 1 else matrix
        taken = dict.fromkeys(rows, 0)
        drawn = []
        for templates in counts:
            drawn.append(rows[templates][taken[templates]])
            taken[templates] += 1
        rows_MLT.append(drawn)
    scales = _scales(weights)
    return torch.stack(
        [torch.cat([row.to(scale) * scale for row, scale in zip(rows, scales, strict=True)]) for rows in rows_MLT]
    ).to(weights[0])


@torch.no_grad()
def start_near(bank: Bank, weights: Sequence[Tensor], *, layers: int) -> float:
    """Make a bank's mixtures the model's own weights, as nearly as its size allows, and part the members a little.

    Members that read the same templates all take the same coefficients; the entries are then the least-squares
    solution nearest to the fresh draws, exact where there are as many templates as layers. The coefficients are
    nudged by draws that add up to zero over the members, so that the mean of their weights stays the model's (where
    members read the same): by a tenth of their spread in all, that is by ``0.1 / sqrt(layers)`` in each of the model's
    layers.

    Returns:
        How much of the weights is kept: 1 less the squared distance from them over their squared length.
    """
    if bank.entries.is_meta:
        return 1.0
    members = len(bank.coefficients_MR)
    distinct = members if bank.disjoint else 1
    target = torch.cat([weight.expand(distinct, *weight.shape).flatten() for weight in weights]).double()
    draws = [bank.coefficients_MR.detach()] if bank.disjoint else _promising(bank, weights)
    solved = [_least_squares(bank, draw.double(), target) for draw in draws]
    chosen = _best(solved, float(target.square().sum()))
    (entries, residual), coefficients_MR = solved[chosen], draws[chosen]
    bank.coefficients_MR.copy_(coefficients_MR.expand(members, -1))
    bank.entries.copy_(entries)
    noise = torch.randn_like(bank.coefficients_MR)
    noise = noise - noise.mean(dim=0)
    parts = bank.coefficients_MR.detach().split(list(bank.counts), dim=1)
    spread = torch.cat([part.square().mean().sqrt().expand(part.shape[1]) for part in parts])
    bank.coefficients_MR.add_(_NUDGE / math.sqrt(layers) * spread * noise)
    length = float(target.square().sum())
    return 1.0 - float(residual.square().sum()) / length if length > 0 else 1.0


def _promising(bank: Bank, weights: Sequence[Tensor]) -> list[Tensor]:
    """Draws of one member's coefficients, ``(1, R)``, of which one is to be chosen by what entries it needs.

    Of whole templates that can be told beforehand: they need be least large where the coefficients' matrix has no small
    singular value. Of a blob it takes a solution each, so the larger it is, the fewer there are.
    """
    if not isinstance(bank, TemplateBank):
        number = min(_SOLUTIONS, max(1, _SOLVED_ENTRIES // len(bank.entries)))
        return [draw_coefficients(weights, bank.counts, 1) for _ in range(number)]
    draws = [draw_coefficients(weights, bank.counts, 1) for _ in range(_DRAWS)]
    singular = [torch.linalg.svdvals(bank.matrix(draw)[:, 0].float())[-1] for draw in draws]
    return [draws[int(torch.stack(singular).argmax())]]


def _best(solved: Sequence[tuple[Tensor, Tensor]], length: float) -> int:
    """Of solutions that leave about as little, the one with the smallest entries.

    Large entries cancel in the weights, but not in the coefficients' gradients: the first steps would blow up.
    """
    left = [float(residual.square().sum()) for _, residual in solved]
    close = [index for index, each in enumerate(left) if each <= min(left) + 0.01 * length]
    return min(close, key=lambda index: float(solved[index][0].square().sum()))


def _least_squares(bank: Bank, coefficients_MR: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Entries, and what their mixtures leave of what is wanted.

    Conjugate gradients on the normal equations of entries -> weights, from the bank's entries, in double precision.
    For whole templates the operator has as many different singular values as there are templates, so as many steps
    suffice.
    """
    solution = bank.entries.detach().double()
    leaf = solution.clone().requires_grad_()

    def compose(entries: Tensor) -> Tensor:
        return torch.cat([torch.stack(list(own)).flatten() for own in bank.compose(entries, coefficients_MR)])

    with torch.enable_grad():
        graph = compose(leaf)

    def transposed(residual: Tensor) -> Tensor:
        return torch.autograd.grad(graph, leaf, residual, retain_graph=True)[0]

    residual = wanted - compose(solution)
    direction = gradient = transposed(residual)
    first = squared = gradient @ gradient
    for _ in range(_STEPS):
        if not squared > _TOLERANCE**2 * first:
            break
        image = compose(direction)
        step = squared / (image @ image)
        solution = solution + step * direction
        residual = residual - step * image
        gradient = transposed(residual)
        previous, squared = squared, gradient @ gradient
        direction = gradient + squared / previous * direction
    return solution.to(bank.entries.dtype), residual


def _scales(weights: Sequence[Tensor]) -> list[Tensor]:
    """Each layer's root mean square over the largest of them; 1 for all where every weight is zero.

    A step of the entries moves a layer's weights by its squared scale times what the layer's own step would be. With
    no scale above 1 no layer moves faster than it would alone, at the same learning rate.
    """
    wide = torch.promote_types(weights[0].dtype, torch.float32)
    squares = torch.stack([weight.detach().square().sum(dtype=wide) for weight in weights])
    sizes = torch.tensor([float(weight.numel()) for weight in weights]).to(squares)
    largest = (squares / sizes).max()
    return list(torch.where(largest > 0, (squares / sizes / largest).sqrt(), torch.ones_like(squares)))
