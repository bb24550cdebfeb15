"""Suggestions for a model's name that is not known, among motet's own names and timm's."""

from collections.abc import Sequence
from difflib import SequenceMatcher, get_close_matches

from motet.errors import InputError, nearest
from motet.models.timm_model import import_timm

_MOST = 3  # names in a suggestion
_OWN_CUTOFF, _TIMM_CUTOFF = 0.5, 0.7  # timm has more than a thousand names, many of which are a little similar


def suggestion(name: str, known: Sequence[str]) -> str:
    """Return how to name a model that is not `known`: the most similar names, also those of timm as ``timm:NAME``.

    timm is imported. If that fails, the suggestion is how to install it.

    Args:
        name: the name that was not found.
        known: motet's own names.
    """
    asked = _folded(name)
    try:
        timm = import_timm()
    except InputError as error:
        return (
            f"{nearest(name, known)}. A model of timm is called timm:{asked}, and needs the package timm. {error.fix}"
        )
    theirs = {_folded(each): each for each in timm.list_models()}
    if asked in theirs or timm.is_model(asked):
        close = [f"timm:{theirs.get(asked, asked)}"]
    else:
        own = {_folded(each): each for each in known}
        found = {each: own[each] for each in get_close_matches(asked, own, n=1, cutoff=_OWN_CUTOFF)}
        for each in get_close_matches(asked, theirs, n=_MOST, cutoff=_TIMM_CUTOFF):
            found.setdefault(each, f"timm:{theirs[each]}")
        by_similarity = sorted(found, key=lambda each: SequenceMatcher(None, each, asked).ratio(), reverse=True)
        close = [found[each] for each in by_similarity[:_MOST]]
    hint = f"Did you mean {_listed(close)}? " if close else ""
    return f"{hint}Known: {', '.join(known)}, and timm:NAME for each of timm.list_models()"


def _folded(name: str) -> str:
    return name.lower().replace("-", "_")


def _listed(names: Sequence[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} or {quoted[-1]}"
