"""The base class of every method, and the functions that a method outside motet needs.

Derive from `Method`. Its `convert` is passed a `ConversionContext`. `instance_of` makes a model that may be changed;
`motet.surgery` analyses it and replaces its layers, `motet.layers` has layers with a member axis, and
`motet.testing.check_method` checks the result. The guide is docs/adding-a-method.md.
"""

import copy
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from motet._internal.evaluation_mode import evaluating
from motet._internal.moved import moved_names
from motet._internal.own_code import class_name
from motet._internal.renamed_settings import adopt_old_properties, renamed_property
from motet._internal.wording import with_article
from motet.distributed import Grid, MemberShard
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.grouping import Grouping, Shared
from motet.layers import Layout
from motet.likelihoods import Categorical, Combination, Likelihood
from motet.objectives import ExitObjective, Independent, Objective
from motet.surgery import Init, LayerNames, looks_trained
from motet.types import Batch

__all__ = ["ConversionContext", "Method", "Model", "check_class", "check_members", "instance_of"]

__getattr__ = moved_names(__name__, {"Given": "motet.method.ConversionContext"})

Model = nn.Module | Callable[[], nn.Module]


@final
@dataclass(frozen=True, kw_only=True)
class ConversionContext:
    """The arguments of `Method.convert` other than the model.

    Attributes:
        example: an input batch of one row or more.
        layout: the ensemble's layout; member layers hold it if they must know what their rows are.
        first, last: the names of the model's input and output layers, if the user gave them.
        init: whether members draw separate initial weights, or start from the model's.
        likelihood: the distribution whose natural parameters the outputs are.
        only: indices of the members to hold, in an ensemble over several processes; None for all.
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

    A method answers four questions: which examples each member sees in training (`grouping`), which weights belong to
    which member (`convert`), how members are coupled in the loss (`default_objective`), and how their predictions are
    combined (`combination`).
    """

    name: ClassVar[str]
    """The method's name on the command line and in run folders."""
    label: ClassVar[str]
    """The method's name in tables and figures."""
    summary: ClassVar[str]
    """One line: which weights are shared and which examples each member sees."""
    shares_nothing: ClassVar[bool] = False
    """Whether members are separate networks, so that each can be in its own process."""

    @property
    def exempt_from(self) -> Mapping[str, str]:
        """Laws of `motet.testing.check_method` that do not apply to this method, with the reasons."""
        return {}

    @property
    def combination(self) -> Combination:
        """How predictions are combined; a mixture by default. A subclass may make it a setting."""
        return "mixture"

    @property
    def default_objective(self) -> Objective | ExitObjective:
        """The training loss if `wrap` is passed none; the sum of the members' own losses by default."""
        return Independent(reduction="sum")

    @property
    def default_likelihood(self) -> Likelihood:
        """The likelihood if `wrap` is passed none; `Categorical` by default."""
        return Categorical()

    size = renamed_property("size", "members")
    size_in_training = renamed_property("size_in_training", "members_in_training")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        adopt_old_properties(cls, Method, size="members", size_in_training="members_in_training")

    if TYPE_CHECKING:
        # Only for type checkers: a property here would become the default of a field called `members`.
        @property
        @abstractmethod
        def members(self) -> int:
            """The number of members M."""

    @property
    def members_in_training(self) -> int:
        """The number of members that a training step runs; all by default."""
        return self.members

    @property
    def grouping(self) -> Grouping:
        """Which examples of a training batch each member sees; by default all members see all examples."""
        return Shared()

    def grouping_for(self, network: nn.Module, example: Tensor) -> Grouping:
        """Return the grouping for an ensemble with this `network`: `grouping`, unless it depends on the model."""
        return self.grouping

    @abstractmethod
    def convert(self, model: Model, context: ConversionContext) -> nn.Module:
        """Make a network of M members. The model passed is not changed.

        Args:
            model: a module, or a function that makes a new one at each call; start from `instance_of`.
            context: the example, the layout, the layers that the user named, the initialisation, the likelihood.

        Returns:
            A module from rows to rows ``(M B, C)``, member-major: first all rows of member 0. An input that all members
            share is passed as ``B`` rows, separate inputs for the members as ``M B`` rows: `ConversionContext.layout`
            tells which.

        Raises:
            InputError: if the model does not fit, with what the method needs.
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

        Model and example may be on the meta device; weights are loaded later, after ``ensemble.to_empty(device=...)``.

        Args:
            model: any module that maps ``(B, ...)`` to ``(B, C)``, which is copied and never changed; or a function
                that makes a new module at each call, which is used without copying. Pass a function for methods whose
                members have separate networks: each network then gets the model's own initialisation.
            example: an input batch of one row or more, used to find out how the model works: ``x[:1]``.
            likelihood: the distribution whose natural parameters the outputs are; `default_likelihood` if None.
            objective: the training loss; the method's own if None.
            first: name or names of the layers that read the input, if they cannot be found.
            last: name or names of the layers that make the output, if they cannot be found.
            init: ``"fresh"``: members draw separate initial weights, from the function that makes the model or, for a
                module, from `motet.surgery.permuted_init_like`. ``"keep"``: members start from the model's weights plus
                small differences, to continue from a pretrained model. If None, a function gives fresh weights, and a
                module keeps its weights if its normalisation layers look trained, that is, if their running statistics
                or scales differ from the initial values.
            combination: how predictions are combined, ``"mixture"`` or ``"geometric"``; if None, the objective's
                choice, or the method's if the objective has none.
            grid: the processes that the members are distributed over, from `motet.distributed.start`. The ensemble then
                holds this process's members, and its loss is this process's part of the whole loss. With the same seed
                the members have the weights that they would have in one process.

        Raises:
            InputError: if the model or the example does not fit; with the candidates if layers are ambiguous.
        """
        _check_model(model, example, init)
        self._check_members()
        if init is None:
            init = "keep" if isinstance(model, nn.Module) and looks_trained(model) else "fresh"
        objective, likelihood = objective or self.default_objective, likelihood or self.default_likelihood
        shard = None if grid is None or grid.size == 1 else self._shard(grid, objective)
        layout, only = Layout(), None if shard is None else shard.only
        context = ConversionContext(
            example=example, layout=layout, first=first, last=last, init=init, likelihood=likelihood, only=only
        )
        network = self.convert(model, context)
        ensemble = Ensemble(
            network,
            members=self.members if shard is None else shard.held,
            description=str(self),
            likelihood=likelihood,
            objective=objective,
            grouping=self.grouping_for(network, example),
            layout=layout,
            combination=combination or objective.combination or self.combination,
            members_in_training=self.members_in_training if shard is None else shard.held,
            input_axes=example.ndim,
            shard=shard,
        )
        _rehearse(ensemble, example)
        return ensemble

    def _check_members(self) -> None:
        if not hasattr(self, "members"):
            raise InputError(
                "a method must have an attribute members, the number of its members",
                got=f"{class_name(type(self))} without it",
                fix="Add a field to the class, members: int = 3, or a property",
            )
        check_members(self.members)
        if type(self).size is not Method.size and self.size != self.members:  # an override by the earlier name
            raise InputError(
                "a method's attribute 'members' must be its number of members",
                got=f"members={self.members} and size={self.size} (the earlier name) in {class_name(type(self))}",
                fix="Give the field called members another name, and rename size to members",
            )

    def _shard(self, grid: Grid, objective: Objective | ExitObjective) -> MemberShard:
        if not self.shares_nothing:
            raise InputError(
                "members can be distributed over several processes only if they share no parameters",
                got=f"{self} on {grid.size} processes",
                fix="Use a method whose members are separate networks, such as DeepEnsemble, or run it in one process",
            )
        shard = MemberShard(grid, self.members)
        shard.check(objective)
        return shard


def check_class(kind: type[Method]) -> None:
    """Check the class of a method.

    Raises:
        InputError: unless it has a `name` that can name a folder, a `label` and a `summary`, each one line of text, and
            settings that are fields of a dataclass.
    """
    for key in ("name", "label", "summary"):
        value = getattr(kind, key, None)
        if not isinstance(value, str) or not value.strip() or "\n" in value:
            raise InputError(
                f"a method's class must have a {key}, one line of text",
                got=f"{class_name(kind)} {'without one' if value is None else f'with {key} = {value!r}'}",
                fix=f'Write {key} = "..." in the class',
            )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", kind.name) or kind.name == "all" or kind.name.endswith("."):
        raise InputError(
            "a method's name must be one that can name a folder: letters, digits, hyphens, underscores, points",
            got=f"{class_name(kind)} with name = {kind.name!r}",
            fix=f'Write name = "{re.sub("[^a-z0-9]+", "-", kind.name.lower()).strip("-") or "mine"}", for example',
        )
    declared = [key for key, hint in vars(kind).get("__annotations__", {}).items() if "ClassVar" not in str(hint)]
    known = {item.name for item in fields(kind)}
    if lost := [key for key in declared if key not in known]:
        raise InputError(
            "a method's settings must be the fields of a dataclass",
            got=f"{class_name(kind)} with {lost[0]}, which is not a field",
            fix="Write @dataclass(frozen=True, kw_only=True) above the class",
        )


def check_members(members: int) -> None:
    """Check a number of members, in a method's ``__post_init__``.

    Args:
        members: M.

    Raises:
        InputError: unless it is an integer of at least 1.
    """
    if not hasattr(members, "__index__"):
        raise InputError("members must be an integer", got=f"members={members!r}", fix="Pass members=3, for example")
    if members < 1:
        raise InputError("members must be at least 1", got=f"members={members}", fix="Pass members=1 or more")


def instance_of(model: Model) -> nn.Module:
    """Return a model that a conversion may change.

    Args:
        model: what `Method.convert` is passed: a module, or a function that makes one.

    Returns:
        A deep copy of the module, or the result of the function, without a copy.

    Raises:
        InputError: if the module cannot be copied, or if the function does not return a module.
    """
    if isinstance(model, nn.Module):
        try:
            return copy.deepcopy(model)
        except RuntimeError as error:
            raise InputError(
                "a model passed as a module must work with copy.deepcopy",
                got=f"{type(error).__name__}: {error}",
                fix="Pass a function that makes the model instead of the model",
            ) from error
    made = model()
    if not isinstance(made, nn.Module):
        raise InputError(
            "a function given as the model must return a torch.nn.Module",
            got=f"{with_article(type(made).__name__)} from {getattr(model, '__name__', model)!r}",
            fix="Return the module from the function",
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
            "a method wraps an ordinary model", got="an Ensemble", fix="Wrap the model from which the ensemble was made"
        )
    if not isinstance(model, nn.Module) and not callable(model):
        raise InputError(
            "the model must be a torch.nn.Module or a function that makes one",
            got=with_article(type(model).__name__),
            fix="Pass the module itself: wrap(net, example=x[:1])",
        )
    if not isinstance(example, Tensor):
        raise InputError(
            "the example must be a torch.Tensor",
            got=with_article(type(example).__name__),
            fix="Pass example=x[:1] as a tensor",
        )
    if example.ndim < 2 or len(example) == 0:
        raise InputError(
            "the example must be a batch of one row or more, with the batch axis first",
            got=f"shape {tuple(example.shape)}",
            fix="Pass example=x[:1]",
        )


def _rehearse(ensemble: Ensemble, example: Tensor) -> None:
    """Run the wrapped model once in each way it will run later, so that errors show at once."""
    # A single row would be broadcast even where the members' rows do not fit.
    example = torch.cat([example, another_row(example)])
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
            fix="If the model reshapes its features, use the batch size of the features, not that of the input: "
            "features.flatten(1), not features.view(len(x), -1). "
            "If the input is read by several layers, name all of them with first=(...)",
        ) from error


def another_row(example: Tensor) -> Tensor:
    """Return a row like those of `example`; if they are floating-point numbers, a row without constant parts."""
    row = example[:1]
    if not row.is_floating_point():
        return row
    return torch.arange(1, row.numel() + 1, device=row.device).sin().view_as(row).to(row.dtype)


def _check_rows(ensemble: Ensemble, example: Tensor, shared: Tensor) -> None:
    """Raise `InputError` if separate copies of an input give the members another output than the shared input.

    That happens if a model moves its batch axis, or mixes it with another axis, before its input layer: the members'
    rows are then in other places, although the shapes may fit.
    """
    if example.is_meta:
        return
    inputs = example.unsqueeze(1).expand(-1, ensemble.members, *example.shape[1:])
    targets_BM = torch.zeros(inputs.shape[:2], dtype=torch.long, device=example.device)
    own = ensemble.forward_batch(Batch(inputs=inputs, targets_BM=targets_BM, distinct=True))
    # Far above rounding errors (TF32 convolutions: 0.1 %), far below the differences between rows.
    allowed = 0.05 * shared.abs().max()
    repeatable = (ensemble(example) - shared).abs().max() <= allowed
    if bool(repeatable) and bool((own - shared).abs().max() > allowed):
        raise InputError(
            "each row of the model's output must come from the same row of its input",
            got=f"a model that mixes up rows after {ensemble.description} replaced its layers",
            fix="Keep the batch as the first axis, or name another layer with first=",
        )
