"""The members of an ensemble that one rank holds, and the exchanges that their loss and predictions need."""

from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from motet.distributed.communicator import Communicator
from motet.distributed.grid import Grid
from motet.errors import InputError
from motet.likelihoods import Combination, Likelihood, NaturalExponentialFamily
from motet.objectives import ExitObjective, Independent, Objective
from motet.objectives.modular import Joint, Modular
from motet.types import Progress


@final
@dataclass(frozen=True, kw_only=True)
class Communication:
    """The traffic of all ranks of a run in training, a part of the run's scores.

    Attributes:
        member_ranks, data_ranks: see `Grid`.
        steps: the number of training steps.
        bytes_per_step: bytes sent for the loss and the gradients of a step.
        bytes_sent: bytes sent in total, by purpose.
        data_parallel_bytes_per_step: bytes that data-parallel training of the same network would send.
        formula: how these were counted.
    """

    # A record like those of `motet._internal.typed_records`. The core does not import pydantic, which takes long to
    # import.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    member_ranks: int
    data_ranks: int
    steps: int
    bytes_per_step: int
    bytes_sent: dict[str, int]
    data_parallel_bytes_per_step: int
    formula: str

    def __post_init__(self) -> None:
        counts = (
            self.member_ranks,
            self.data_ranks,
            self.steps,
            self.bytes_per_step,
            self.data_parallel_bytes_per_step,
        )
        if not all(0 <= count < 2**63 for count in (*counts, *self.bytes_sent.values())):
            raise ValueError("counts from 0 to 2^63 - 1")


@final
class MemberShard:
    """The members that this rank holds, of an ensemble over several ranks.

    Attributes:
        grid: the ranks.
        members: M, of the whole ensemble.
        first: the index of the first member held here.
        held: the number of members held here.
        steps: the number of training steps of this process.
    """

    def __init__(self, grid: Grid, members: int) -> None:
        part = grid.part_of(members)
        self.grid, self.members = grid, members
        self.first, self.held = part.start, part.stop - part.start
        self.steps = 0

    @property
    def only(self) -> range:
        """The indices of the members held here."""
        return range(self.first, self.first + self.held)

    def check(self, objective: Objective | ExitObjective) -> None:
        """Check that an objective can be computed from the members' mean natural parameter.

        Raises:
            InputError: for an objective that is not known to need only that.
        """
        if not isinstance(objective, Independent | Joint | Modular):
            raise InputError(
                "members on several ranks need an objective that depends on other members only through their "
                "mean natural parameter",
                got=f"the objective {type(objective).__name__}",
                fix="Use Independent, Joint or Modular, or run in one process",
            )

    def loss(
        self,
        objective: Objective | ExitObjective,
        outputs_BMC: Float[Tensor, "batch held out"],
        targets_BM: Shaped[Tensor, "batch held ..."],
        likelihood: Likelihood,
        *,
        progress: Progress | None = None,
    ) -> Float[Tensor, ""]:
        """Return this rank's part of the objective over all members: the sum over the member ranks is the objective.

        Its gradient for the members held here is exactly that of the whole objective. If members are coupled, the ranks
        exchange the sum of their natural parameters, B x C numbers. The backward pass exchanges nothing, because each
        rank computes the gradient at the mean natural parameter itself (Joint training of neural network ensembles,
        https://arxiv.org/abs/1902.04422, equation 8).

        Args:
            objective: `Independent`, `Joint` or `Modular`.
            outputs_BMC: natural parameters of the members held here.
            targets_BM: their targets.
            likelihood: the distribution whose natural parameters the outputs are.
            progress: how far training has come; None for an objective without schedules.
        """
        self.steps += torch.is_grad_enabled()
        lam, scale = _coupling(objective, self.members, progress)
        part = self.held / self.members
        terms = []
        if lam > 0:
            # torch's `apply` has no type annotations.
            total_BC: Tensor = _SumOverRanks.apply(outputs_BMC.sum(dim=1), self.grid.members)  # type: ignore[no-untyped-call]
            joint = lam * likelihood.mean_nll(total_BC / self.members, targets_BM[:, 0])
            # The gradient of the whole objective, and the value of this rank's part.
            terms.append(joint - (1 - part) * joint.detach())
        if lam < 1:
            terms.append((1 - lam) * part * likelihood.mean_nll(outputs_BMC, targets_BM))
        loss: Tensor = scale * sum(terms[1:], terms[0])
        return loss

    def gather(self, outputs_BMC: Float[Tensor, "batch held out"]) -> Float[Tensor, "batch member out"]:
        """Return all members' outputs for the rows that this rank predicted, on every rank."""
        parts = self.grid.members.gather_rows(outputs_BMC.transpose(0, 1).contiguous(), "predictions")
        return torch.cat(parts).transpose(0, 1).contiguous()

    def combined(
        self, outputs_BMC: Float[Tensor, "batch held out"], combination: Combination, likelihood: Likelihood
    ) -> Float[Tensor, "batch member out"]:
        """Return outputs whose combination is that of all members, with less traffic than `gather` if possible.

        For the normalised geometric mean it is the mean natural parameter, in the form of one member's output.

        Args:
            outputs_BMC: natural parameters of the members held here.
            combination: how members are combined.
            likelihood: the distribution whose natural parameters the outputs are.
        """
        if combination != "geometric" or not isinstance(likelihood, NaturalExponentialFamily):
            return self.gather(outputs_BMC)
        total_BC = self.grid.members.sum(outputs_BMC.sum(dim=1), "predictions")
        return (total_BC / self.members).unsqueeze(1)

    def total(self, value: int) -> int:
        """Return the sum over the member ranks."""
        return int(self.grid.members.sum(torch.tensor([value]), "agreement"))

    def communication(self, network: nn.Module) -> Communication:
        """Return the traffic of all ranks in training, and that of data-parallel training.

        Args:
            network: the network that is trained here.
        """
        grid, steps = self.grid, self.steps
        trained = self.total(sum(p.numel() * p.element_size() for p in network.parameters() if p.requires_grad))
        purposes = ("step", "gradients", "agreement", "predictions", "start")
        mine = torch.tensor([grid.sent.get(purpose, 0.0) for purpose in purposes], dtype=torch.float64)
        totals = dict(zip(purposes, (round(n) for n in grid.everyone.sum(mine, "agreement").tolist()), strict=True))
        return Communication(
            member_ranks=grid.member_ranks,
            data_ranks=grid.data_ranks,
            steps=steps,
            bytes_per_step=(totals["step"] + totals["gradients"]) // max(1, steps),
            bytes_sent=totals,
            data_parallel_bytes_per_step=2 * (grid.size - 1) * trained,
            formula="2 (ranks - 1) x bytes of all members' gradients: a ring's sum, over all ranks",
        )


def _coupling(objective: Objective | ExitObjective, members: int, progress: Progress | None) -> tuple[float, float]:
    """Return lambda, and the factor of the modular loss."""
    if isinstance(objective, Independent):
        return 0.0, float(members) if objective.reduction == "sum" else 1.0
    assert isinstance(objective, Joint | Modular)  # checked when the ensemble was made
    lam = 1.0 if isinstance(objective, Joint) else objective.lambda_at(progress)
    return (0.0 if members == 1 else lam), float(members) if objective.reduction == "sum" else 1.0


class _SumOverRanks(torch.autograd.Function):
    """The sum of the ranks' tensors. Every rank computes the same from it, and so has the same gradient."""

    @staticmethod
    def forward(ctx: Any, own: Tensor, communicator: Communicator) -> Tensor:
        return communicator.sum(own.clone(), "step")

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None
