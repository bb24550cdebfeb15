"""Initial templates and coefficients."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from motet.layers import Bank, TemplateBank
from motet.surgery import permuted_init_like

# How far members start from a kept model, over all layers together, as a fraction of the weights' standard deviation.
_NUDGE = 0.1
_STEPS = 100
_DRAWS = 32
_SOLUTIONS, _SOLVED_ENTRIES = 8, 2**20
_TOLERANCE = 1e-12


@torch.no_grad()
def draw_entries(weights: Sequence[Tensor], number: int) -> Tensor:
    """Return the entries of a bank, ``(n,)``: the layers' weights in random order, drawn by `permuted_init_like`.

    Layers may have been initialised with different standard deviations. Each is scaled to the largest of them, and its
    coefficients scale it back (`draw_coefficients`).
    """
    if weights[0].is_meta:
        return weights[0].new_empty(number)
    scales = _scales(weights)
    live = [(weight, scale) for weight, scale in zip(weights, scales, strict=True) if scale > 0]
    if not live:  # all zeros, as in some models' last layers
        return weights[0].new_zeros(number)
    pool = torch.cat([(weight / scale).flatten() for weight, scale in live])
    return torch.cat([permuted_init_like(pool) for _ in range(math.ceil(number / len(pool)))])[:number].to(weights[0])


@torch.no_grad()
def draw_coefficients(weights: Sequence[Tensor], counts: Sequence[int], members: int) -> Tensor:
    """Return every member's initial coefficients, ``(M, R)``.

    Layers with equally many templates get the rows of an orthogonal matrix (Savarese and Maire 2019), each scaled to
    length 1. The composed weights then have the variance of the templates, for any number of layers. Each layer is also
    scaled by its own initial deviation over that of the bank.

    With one template the row would be 1 or -1. Members might then start equal, and stay equal because they see the same
    batches. So noise of relative size 0.1 is added to these rows.

    Args:
        weights: the layers' weights.
        counts: the number of templates of each layer; R is their sum.
        members: M.
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
def initialise_near(bank: Bank, weights: Sequence[Tensor], *, layers: int) -> float:
    """Set a bank's mixtures to the model's weights, as nearly as its size allows, with small differences between
    members.

    Members that read the same templates all get the same coefficients. The entries are then the least-squares solution
    nearest to the fresh draws; it is exact if there are as many templates as layers. The coefficients are moved by
    draws that add up to zero over the members, so that the mean of the members' weights stays the model's (where
    members read the same templates). The total movement is a tenth of the coefficients' spread, that is ``0.1 /
    sqrt(layers)`` in each layer.

    Args:
        bank: the bank; its entries and coefficients are changed.
        weights: the weights of the layers that read the bank.
        layers: the number of mixtures in the whole model.

    Returns:
        The fraction of the weights that is kept: 1 minus the squared distance from them over their squared length.
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
    """Return candidates for one member's coefficients, ``(1, R)``; the one that needs the smallest entries is chosen.

    With whole templates this can be predicted: entries are small if the coefficients' matrix has no small singular
    value. A blob needs one solution per candidate, so a larger blob gets fewer candidates.
    """
    if not isinstance(bank, TemplateBank):
        number = min(_SOLUTIONS, max(1, _SOLVED_ENTRIES // len(bank.entries)))
        return [draw_coefficients(weights, bank.counts, 1) for _ in range(number)]
    draws = [draw_coefficients(weights, bank.counts, 1) for _ in range(_DRAWS)]
    singular = [torch.linalg.svdvals(bank.matrix(draw)[:, 0].float())[-1] for draw in draws]
    return [draws[int(torch.stack(singular).argmax())]]


def _best(solved: Sequence[tuple[Tensor, Tensor]], length: float) -> int:
    """Return the index of the solution with the smallest entries, among those with about the smallest residual.

    Large entries cancel in the weights but not in the coefficients' gradients, so that the first steps would diverge.
    """
    left = [float(residual.square().sum()) for _, residual in solved]
    close = [index for index, each in enumerate(left) if each <= min(left) + 0.01 * length]
    return min(close, key=lambda index: float(solved[index][0].square().sum()))


def _least_squares(bank: Bank, coefficients_MR: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Return entries, and the residual of their mixtures.

    Conjugate gradients on the normal equations of entries -> weights, started from the bank's entries, in double
    precision. For whole templates the operator has as many different singular values as there are templates, so that as
    many steps suffice.
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
    """Return each layer's root mean square over the largest one; 1 for all layers if every weight is zero.

    A step of the entries moves a layer's weights by its squared scale times the layer's own step. With no scale above 1
    no layer moves faster than it would in the single network at the same learning rate.
    """
    wide = torch.promote_types(weights[0].dtype, torch.float32)
    squares = torch.stack([weight.detach().square().sum(dtype=wide) for weight in weights])
    sizes = torch.tensor([float(weight.numel()) for weight in weights]).to(squares)
    largest = (squares / sizes).max()
    return list(torch.where(largest > 0, (squares / sizes / largest).sqrt(), torch.ones_like(squares)))
