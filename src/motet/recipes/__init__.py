"""Experiments that come with motet: functions that return an `Experiment`, named ``file:function``."""

import importlib
import inspect
import pkgutil

from motet._internal.loading import describe_error, load_function
from motet._internal.wording import with_article
from motet.errors import InputError, nearest
from motet.experiments import Experiment

__all__ = ["load_recipe", "recipes"]


def recipes() -> dict[str, str]:
    """Return the name of every recipe, with the first line of its docstring."""
    found: dict[str, str] = {}
    for module in pkgutil.iter_modules(__path__):
        content = importlib.import_module(f"{__name__}.{module.name}")
        for name, function in vars(content).items():
            if inspect.isfunction(function) and function.__module__ == content.__name__ and not name.startswith("_"):
                found[f"{module.name}:{name}"] = (inspect.getdoc(function) or "").partition("\n")[0]
    return found


def load_recipe(name: str) -> Experiment:
    """Return the experiment of the recipe `name`: one of motet's, or ``module:function``, ``file.py:function``.

    Raises:
        InputError: if there is no such recipe, or it does not return an `Experiment`.
    """
    known = recipes()
    place, _, function_name = name.partition(":")
    if name in known:
        function = getattr(importlib.import_module(f"{__name__}.{place}"), function_name)
    elif ":" not in name or place in {recipe.partition(":")[0] for recipe in known}:
        raise InputError(
            "the recipe must be one of motet's, module:function or file.py:function",
            got=repr(name),
            fix=nearest(name, known),
        )
    else:
        try:
            function = load_function(name)
        except InputError as error:
            cause = error.__cause__
            missing = cause.name if isinstance(cause, ModuleNotFoundError) else None
            if cause is None or missing is None or not f"{place}.".startswith(f"{missing}."):
                raise
            raise InputError(
                f"{place} must be importable, because motet has no recipe of this name",
                got=describe_error(cause),
                fix=f"Recipes of motet: {nearest(name, known)}",
            ) from error
    try:
        experiment = function()
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(
            f"the recipe {name} must return an experiment when it is called without arguments",
            got=describe_error(error),
            fix="Correct the function",
        ) from error
    if not isinstance(experiment, Experiment):
        raise InputError(
            "a recipe must return a motet.Experiment",
            got=with_article(type(experiment).__name__),
            fix="Return the experiment",
        )
    return experiment
