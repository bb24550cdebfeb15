"""What every method is: settings, and the answers to the four questions; and what a method outside motet needs.

`Method` is the class to derive from, `Given` what its `convert` gets. `instance_of` makes a model that may be changed;
`motet.surgery` looks at it and changes it, `motet.layers` has layers with a member axis, and
`motet.testing.check_method` tells whether the result is right. The guide is docs/adding-a-method.md.
"""

import copy
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar, final

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from motet._internal.evaluation_mode import evaluating
from motet._internal.own_code import shown
from motet.distributed import Grid, Share
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.grouping import Grouping, Shared
from motet.layers import Layout
from motet.likelihoods import Categorical, Combination, Likelihood
from motet.objectives import ExitObjective, Independent, Objective
from motet.surgery import Init, LayerNames, looks_trained
from motet.types import Batch

__all__ = ["Given", "Method", "Model", "check_class", "check_members", "instance_of"]

Model = nn.Module | Callable[[], nn.Module]


@final
@dataclass(frozen=True, kw_only=True)
class Given:
    """What a conversion is given beside the model.

    Attributes:
        example: an input batch of one row or more.
        layout: the ensemble's; member layers that must know what their rows are hold it.
        first, last: the model's input and output layers, where the user named them.
        init: whether members draw initial weights of their own, or start from the model's.
        likelihood: what the outputs mean.
        only: the members to hold, of an ensemble over several processes; None for all.
    """

    example: Tensor
    layout: Layout
    first: LayerNames = None
    last: LayerNames = None
    init: Init = "fresh"
    likelihood: Likelihood = field(default_factory=Categorical)
    only: range | None = None


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """An efficient ensemble method: a frozen record of settings that can wrap a model.

    A method answers four questions: who sees what in training (`grouping`), who owns which weights (`convert`),
    how members are coupled in the loss (`default_objective`), and how they are combined (`combination`).
    """

    name: ClassVar[str]
    """The method's name on the command line and in run folders."""
    label: ClassVar[str]
    """The method's name in tables and figures."""
    summary: ClassVar[str]
    """One line: who owns which weights and who sees what."""
    shares_nothing: ClassVar[bool] = False
    """Whether members are whole networks, so that each may be on a process of its own."""

    @property
    def exempt_from(self) -> Mapping[str, str]:
        """Laws of `motet.testing.check_method` that do not apply to this method, each with the reason."""
        return {}

    @property
    def combination(self) -> Combination:
        """How members are combined: as a mixture, unless a method says otherwise. A setting may take its place."""
        return "mixture"

    @property
    def default_objective(self) -> Objective | ExitObjective:
        """The training loss unless `wrap` is given another: the sum of the members' own losses."""
        return Independent(reduction="sum")

    @property
    @abstractmethod
    def size(self) -> int:
        """The number of members M."""

    @property
    def size_in_training(self) -> int:
        """The number of members that a training step runs: all, unless a method says otherwise."""
        return self.size

    @property
    def grouping(self) -> Grouping:
        """How a training batch is dealt to the members: all see the same, unless a method says otherwise."""
        return Shared()

    def grouping_for(self, network: nn.Module, example: Tensor) -> Grouping:
        """The grouping of an ensemble with this `network`: `grouping`, unless the model decides what can be dealt."""
        return self.grouping

    @abstractmethod
    def convert(self, model: Model, given: Given) -> nn.Module:
        """A network of M members, made from a model that is left as it is.

        Args:
            model: a module, or a function that makes a new one at each call; start from `instance_of`.
            given: the example, the layout, the layers that the user named, how to draw initial weights, the likelihood.

        Returns:
            A module from rows to rows ``(M B, C)``, member-major: first all rows of member 0. An input that all members
            share enters as ``B`` rows; inputs of the members' own as ``M B`` rows, which `Given.layout` tells.

        Raises:
            InputError: if the model does not fit, saying what it needs.
        """

    def wrap(
        self,
        model: Model,
        *,
        example: Shaped[Tensor, "batch ..."],
        likelihood: Likelihood | None = None,
        objective: Objective | ExitObjective | None = None,
        first: LayerNames = None,
        last: LayerNames = None,
        init: Init | None = None,
        combination: Combination | None = None,
        grid: Grid | None = None,
    ) -> Ensemble:
        """Turn a model into an ensemble of this method.

        Args:
            model: any module that maps ``(B, ...)`` to ``(B, C)``, which is copied and never changed; or a function
                that makes a new one at each call, which is used as it is. Give a function where members have networks
                of their own: each then gets the model's own initialisation.
            example: an input batch, one row or more, to find out how the model works: ``x[:1]``.
            likelihood: what the outputs mean; `Categorical` if None.
            objective: the training loss; the method's own if None.
            first: name or names of the layers that read the input, where that is ambiguous.
            last: name or names of the layers that make the output, where that is ambiguous.
            init: ``"fresh"``: members draw initial weights of their own, from the function that makes the model or,
                for a module, as `motet.surgery.fresh_like` draws them. ``"keep"``: members start from the model's
                weights, a little apart, to go on from a pretrained model. If None, a function gives fresh weights,
                and a module keeps its own where its norms show that it has been trained.
            combination: how members are combined, ``"mixture"`` or ``"geometric"``; if None, as the objective says,
                or as the method does where the objective leaves it open.
            grid: the processes that share the members out, from `motet.distributed.start`; the ensemble then holds this
                process's members, and its loss is this process's share. The same seed gives the members the weights
                that they would have in one process.

        Raises:
            InputError: if the model or the example does not fit, with the candidates where layers are ambiguous.
        """
        _check_model(model, example, init)
        if init is None:
            init = "keep" if isinstance(model, nn.Module) and looks_trained(model) else "fresh"
        objective = objective or self.default_objective
        share = None if grid is None or grid.size == 1 else self._share(grid, objective)
        layout, likelihood, only = Layout(), likelihood or Categorical(), None if share is None else share.only
        given = Given(
            example=example, layout=layout, first=first, last=last, init=init, likelihood=likelihood, only=only
        )
        network = self.convert(model, given)
        ensemble = Ensemble(
            network,
            members=self.size if share is None else share.held,
            description=str(self),
            likelihood=likelihood,
            objective=objective,
            grouping=self.grouping_for(network, example),
            layout=layout,
            combination=combination or objective.combination or self.combination,
            members_in_training=self.size_in_training if share is None else share.held,
            input_axes=example.ndim,
            share=share,
        )
        _rehearse(ensemble, example)
        return ensemble

    def _share(self, grid: Grid, objective: Objective | ExitObjective) -> Share:
        if not self.shares_nothing:
            raise InputError(
                "members on several processes need a method whose members share no parameters",
                got=f"{self} on {grid.size} processes",
                fix="Take a method whose members are whole networks, as DeepEnsemble's are, or run it on one process",
            )
        share = Share(grid, self.size)
        share.check(objective)
        return share


def check_class(kind: type[Method]) -> None:
    """Check what a method's class must say of itself.

    Raises:
        InputError: unless it has a `name` that can name a folder, a `label` and a `summary`, each one line of text, and
            settings that are fields of a dataclass.
    """
    for key in ("name", "label", "summary"):
        value = getattr(kind, key, None)
        if not isinstance(value, str) or not value.strip() or "\n" in value:
            raise InputError(
                f"a method's class must have a {key}, one line of text",
                got=f"{shown(kind)} {'without one' if value is None else f'with {key} = {value!r}'}",
                fix=f'Write {key} = "..." in the class',
            )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", kind.name) or kind.name == "all" or kind.name.endswith("."):
        raise InputError(
            "a method's name must be one that can name a folder: letters, digits, hyphens, underscores, points",
            got=f"{shown(kind)} with name = {kind.name!r}",
            fix=f'Write name = "{re.sub("[^a-z0-9]+", "-", kind.name.lower()).strip("-") or "mine"}", for example',
        )
    declared = [key for key, hint in vars(kind).get("__annotations__", {}).items() if "ClassVar" not in str(hint)]
    known = {item.name for item in fields(kind)}
    if lost := [key for key in declared if key not in known]:
        raise InputError(
            "a method's settings must be the fields of a dataclass",
            got=f"{shown(kind)} with {lost[0]}, which is none",
            fix="Write @dataclass(frozen=True, kw_only=True) above the class",
        )


def check_members(members: int) -> None:
    """Check a number of members, in a method's ``__post_init__``.

    Args:
        members: M.

    Raises:
        InputError: unless it is a whole number from 1.
    """
    if not hasattr(members, "__index__"):
        raise InputError(
            "members must be a whole number", got=f"members={members!r}", fix="Pass members=3, for example"
        )
    if members < 1:
        raise InputError("members must be at least 1", got=f"members={members}", fix="Pass members=1 or more")


def instance_of(model: Model) -> nn.Module:
    """A model that a conversion may change.

    Args:
        model: what `Method.convert` is given: a module, or a function that makes one.

    Returns:
        A deep copy of the module, or what the function makes, which is then used as it is.

    Raises:
        InputError: for a module that cannot be copied, and a function that makes no module.
    """
    if isinstance(model, nn.Module):
        try:
            return copy.deepcopy(model)
        except RuntimeError as error:
            raise InputError(
                "a model given as a module must be one that copy.deepcopy can copy",
                got=f"{type(error).__name__}: {error}",
                fix="Give a function that makes the model instead of the model",
            ) from error
    made = model()
    if not isinstance(made, nn.Module):
        raise InputError(
            "a function given as the model must return a torch.nn.Module",
            got=f"a {type(made).__name__} from {getattr(model, '__name__', model)!r}",
            fix="Return the module that it builds",
        )
    return made


def _check_model(model: Model, example: Tensor, init: Init | None) -> None:
    if init not in (None, "fresh", "keep"):
        raise InputError(
            "init must be 'fresh' or 'keep'",
            got=repr(init),
            fix="Pass init='keep' to start every member from the model's weights",
        )
    if isinstance(model, Ensemble):
        raise InputError(
            "a method wraps an ordinary model", got="an Ensemble", fix="Wrap the model that it was made of"
        )
    if not isinstance(model, nn.Module) and not callable(model):
        raise InputError(
            "the model must be a torch.nn.Module or a function that makes one",
            got=f"a {type(model).__name__}",
            fix="Pass the module itself: wrap(net, example=x[:1])",
        )
    if not isinstance(example, Tensor):
        raise InputError(
            "the example must be a torch.Tensor",
            got=f"a {type(example).__name__}",
            fix="Pass example=x[:1] as a tensor",
        )
    if example.ndim < 2 or len(example) == 0:
        raise InputError(
            "the example must be a batch of one row or more, with the batch axis first",
            got=f"shape {tuple(example.shape)}",
            fix="Pass example=x[:1]",
        )


def _rehearse(ensemble: Ensemble, example: Tensor) -> None:
    """Run the wrapped model once in each way it will be run, so that what cannot work fails here and not later."""
    example = torch.cat([example, another_row(example)])  # one row would broadcast where members' rows do not fit
    try:
        with torch.no_grad(), evaluating(ensemble):
            shared = ensemble(example)
            labels = torch.zeros(len(example), dtype=torch.long, device=example.device)
            batch: Batch = ensemble.grouping.deal(example, labels, members=ensemble.members_in_training)
            if batch.distinct:
                ensemble.forward_batch(batch)
                _check_rows(ensemble, example, shared)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            "the model must work row by row from its input layer to its output layer",
            got=f"a model that failed after {ensemble.description} replaced them: {type(error).__name__}: {error}",
            fix="Where the model reshapes, use the length of the features, not of the input: features.flatten(1). "
            "Where the input takes several ways through it, name all layers that read it with first=(...)",
        ) from error


def another_row(example: Tensor) -> Tensor:
    """A row like those of `example`; if these are floating-point numbers, one that is constant nowhere."""
    row = example[:1]
    if not row.is_floating_point():
        return row
    return torch.arange(1, row.numel() + 1, device=row.device).sin().view_as(row).to(row.dtype)


def _check_rows(ensemble: Ensemble, example: Tensor, shared: Tensor) -> None:
    """Raise `InputError` where inputs laid side by side give the members another output than the same input shared.

    A model that takes its batch to another axis, or mixes it with one, before its input layer does that: members'
    rows are then not where they are looked for, and the shapes may fit all the same.
    """
    if example.is_meta:
        return
    inputs = example.unsqueeze(1).expand(-1, ensemble.members, *example.shape[1:])
    targets_BM = torch.zeros(inputs.shape[:2], dtype=torch.long, device=example.device)
    own = ensemble.forward_batch(Batch(inputs=inputs, targets_BM=targets_BM, distinct=True))
    # Far above what rounding does (TF32 convolutions: 0.1 %), far below what another row does.
    allowed = 0.05 * shared.abs().max()
    repeatable = (ensemble(example) - shared).abs().max() <= allowed
    if bool(repeatable) and bool((own - shared).abs().max() > allowed):
        raise InputError(
            "each row of the model's output must come from the same row of its input",
            got=f"a model that mixes rows up after {ensemble.description} replaced its layers",
            fix="Keep the batch as the first axis, or name another layer with first=",
        )
