"""The user's own code in records: how a record names it, and when it may be executed."""

import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any, ClassVar, TypeVar, final

from motet._internal.loading import (
    describe_error,
    file_of,
    load_class,
    loaded_module,
    reference_to,
    split_reference,
)
from motet._internal.user_path import user_path
from motet._internal.wording import with_article
from motet.errors import InputError

T = TypeVar("T")


@final
@dataclass(frozen=True, kw_only=True)
class Source:
    """A user's file that a run depends on, as it was when the run was made.

    Attributes:
        file: its name.
        sha256: the hash of its content, in hexadecimal.
        text: its content.
    """

    # A record like those of `typed_records`. The core does not import pydantic, which takes long to import.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    file: str
    sha256: str
    text: str


class UntrustedCodeError(InputError):
    """Raised if reading a record would execute a file that is not trusted."""


def is_own(kind: type) -> bool:
    """Whether the class is one of motet's, and not the user's."""
    return kind.__module__.partition(".")[0] == "motet"


def name_in_record(kind: type) -> str:
    """Return the name of the class in records: its own name for motet's classes, its reference for the user's."""
    return kind.__name__ if is_own(kind) else reference_to(kind)


def class_name(kind: type) -> str:
    """Return the name of the class for errors, as the user may have written it."""
    try:
        return name_in_record(kind)
    except InputError:
        return kind.__qualname__.replace(".<locals>", "")


def make(kind: type[T], reference: str, what: str) -> T:
    """Return an instance of a settings class that the user named, with its defaults.

    Args:
        kind: the class.
        reference: the name that the user gave, for the error.
        what: what such a class is called in errors.

    Raises:
        InputError: if it has settings without defaults, or cannot be made.
    """
    needed = [
        item.name
        for item in (fields(kind) if is_dataclass(kind) else ())
        if item.init and item.default is MISSING and item.default_factory is MISSING
    ]
    if needed:
        raise InputError(
            f"{with_article(what)} that is given by name needs defaults for all its settings",
            got=f"{reference} without one for {', '.join(needed)}",
            fix=f"Give {'it' if len(needed) == 1 else 'them'} a default, or set it in a recipe and use motet run",
        )
    try:
        return kind()
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{with_article(what)} that is given by name must work without arguments",
            got=f"{reference}: {describe_error(error)}",
            fix="Correct the class",
        ) from error


def own_classes(settings: Any) -> Iterator[type]:
    """Yield the user's classes among some settings and the settings inside them."""
    if is_dataclass(settings) and not isinstance(settings, type):
        if not is_own(type(settings)):
            yield type(settings)
        for item in fields(settings):
            yield from own_classes(getattr(settings, item.name))
    elif isinstance(settings, list | tuple):
        for each in settings:
            yield from own_classes(each)


def read_sources(references: Sequence[str]) -> tuple[Source, ...]:
    """Return the user's files that these references name, in order, each once; none of installed packages."""
    found: dict[Path, Source] = {}
    for reference in references:
        file = file_of(reference.rpartition(":")[0])
        if file is None or "site-packages" in file.parts or not file.is_file():
            continue
        content = file.read_bytes()
        found[file.resolve()] = Source(
            file=file.name,
            sha256=hashlib.sha256(content).hexdigest(),
            text=content.decode("utf-8", errors="replace"),
        )
    return tuple(found.values())


def changed_file(held: Sequence[Source], now: Sequence[Source]) -> str | None:
    """Return the first file of `now` that is not among those of a record; None if the record holds none, or all
    match.
    """
    known = {each.sha256 for each in held}
    return next((each.file for each in now if known and each.sha256 not in known), None)


@final
@dataclass(frozen=True, kw_only=True)
class RecordedCode:
    """The code named by a record, and whether it may be executed.

    Attributes:
        trusted: whether the user trusts it. Classes of modules that are already imported need no trust.
        source: the record's files.
        where: the name of the record in errors.
    """

    trusted: bool = False
    source: Sequence[Source] = ()
    where: str = "this record"

    def load(self, reference: str) -> type:
        """Return the class that `reference` names.

        Raises:
            UntrustedCodeError: if that would execute a file that is not trusted.
            InputError: if there is no such class, or if the file has changed since the record was made.
        """
        self.allow(reference)
        self._check_unchanged(reference)
        try:
            found: type = load_class(reference, object, "class of settings")
        except InputError as error:
            raise InputError(
                f"the class that {self.where} names must still exist",
                got=f"{reference}: {error.requirement}, but got {error.got}",
                fix="Restore it as it was when the run was made, or start in the folder where the run was made",
            ) from error
        if not is_dataclass(found):
            raise InputError(
                f"the class that {self.where} names must be a dataclass of settings",
                got=f"{reference}, which is not a dataclass",
                fix="Restore the record as motet wrote it",
            )
        return found

    def check_function(self, reference: str) -> None:
        """Check that the function that makes a run's model may be called.

        A function of `motet.models`, timm, torchvision and transformers may always be called, if the installed package
        is meant, and not a file of that name somewhere else. Any other function must be trusted, also one of a module
        that is already imported: it may delete files, for example.

        Raises:
            UntrustedCodeError: if it is not trusted.
            InputError: if its file has changed since the record was made.
        """
        place, _ = split_reference(reference, "function")
        if not _is_library(place):
            if not self.trusted:
                raise self._untrusted(reference, place)
            self._check_unchanged(reference, "model")

    def allow(self, reference: str) -> None:
        """Check that reading may execute the code of a class.

        Raises:
            UntrustedCodeError: if it would execute a file that is not trusted.
        """
        place, _ = split_reference(reference, "Class")
        if not self.trusted and loaded_module(place) is None:
            raise self._untrusted(reference, place)

    def _untrusted(self, reference: str, place: str) -> UntrustedCodeError:
        what = user_path(place).resolve() if place.endswith(".py") else f"the module {place}"
        return UntrustedCodeError(
            "code that a record names is executed only if you trust it",
            got=f"{self.where} with {reference}: reading this run would execute {what}",
            fix="Pass --trust-code (in Python trust_code=True) if you trust it",
        )

    def _check_unchanged(self, reference: str, what: str = "code") -> None:
        changed = changed_file(self.source, read_sources([reference]))
        if changed is not None:
            raise source_changed(what, changed, self.where)


_LIBRARIES = ("motet.models", "timm", "torchvision.models", "transformers")


def _is_library(place: str) -> bool:
    """Whether `place` is a module of a library of models, as it is installed, and not a file of that name elsewhere."""
    if place.endswith(".py") or not any(f"{place}.".startswith(f"{name}.") for name in _LIBRARIES):
        return False
    top = place.partition(".")[0]
    loaded = sys.modules.get(top)
    if top == "motet":
        return True  # this package
    installed = _origin(
        top, [folder for folder in sys.path if {"site-packages", "dist-packages"} & {*Path(folder).parts}]
    )
    # Where an import searches: the current folder first, see `load_function`.
    found = _origin(top, [str(Path.cwd()), *sys.path]) if loaded is None else getattr(loaded, "__file__", None)
    return installed is not None and found == installed


def _origin(module: str, folders: Sequence[str]) -> str | None:
    spec = PathFinder.find_spec(module, folders)
    return None if spec is None else spec.origin


def source_changed(what: str, file: str, where: object) -> InputError:
    """Return the error for a run whose own code has changed.

    Args:
        what: what the file defines, ``"model"``.
        file: the name of the file.
        where: the record with the original text.
    """
    return InputError(
        f"a run must be evaluated with the {what} that it was made with",
        got=f"{file}, which was changed after the run",
        fix=f"Restore the file from its text, which is in the field source of {where}",
    )
