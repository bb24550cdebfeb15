"""The user's own code that records name: what a record says of it, and when it may be executed."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
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
from motet.errors import InputError

T = TypeVar("T")


@final
@dataclass(frozen=True, kw_only=True)
class Source:
    """A user's file that a run depends on, as it was when the run was made.

    Attributes:
        file: its name.
        sha256: of its content, in hexadecimal.
        text: its content.
    """

    # A record as those of `typed_records`. The core does without pydantic, which takes long to import.
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    file: str
    sha256: str
    text: str


class UntrustedCodeError(InputError):
    """Reading a record would execute a file that nobody has said is trusted."""


def is_own(kind: type) -> bool:
    """Whether the class is motet's own, and not the user's."""
    return kind.__module__.partition(".")[0] == "motet"


def name_in_record(kind: type) -> str:
    """How a record names the class: motet's own by its name, the user's by its reference, see `reference_to`."""
    return kind.__name__ if is_own(kind) else reference_to(kind)


def shown(kind: type) -> str:
    """The class as the user may have named it, for errors."""
    try:
        return name_in_record(kind)
    except InputError:
        return kind.__qualname__.replace(".<locals>", "")


def make(kind: type[T], reference: str, what: str) -> T:
    """An instance of a class of settings that was named, with its defaults. Raises `InputError` if it has none."""
    needed = [
        item.name
        for item in (fields(kind) if is_dataclass(kind) else ())
        if item.init and item.default is MISSING and item.default_factory is MISSING
    ]
    if needed:
        raise InputError(
            f"a {what} that is named needs defaults for all its settings",
            got=f"{reference} without one for {', '.join(needed)}",
            fix=f"Give {'it' if len(needed) == 1 else 'them'} a default, or set it in a recipe and use motet run",
        )
    try:
        return kind()
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"a {what} that is named must be one that can be made without arguments",
            got=f"{reference}: {describe_error(error)}",
            fix="Mend the class",
        ) from error


def own_classes(settings: Any) -> Iterator[type]:
    """The user's classes among some settings and all settings in them."""
    if is_dataclass(settings) and not isinstance(settings, type):
        if not is_own(type(settings)):
            yield type(settings)
        for item in fields(settings):
            yield from own_classes(getattr(settings, item.name))
    elif isinstance(settings, list | tuple):
        for each in settings:
            yield from own_classes(each)


def read_sources(references: Sequence[str]) -> tuple[Source, ...]:
    """The user's files that these references lead to, in order, each once; nothing of installed packages."""
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
    """Name of the first of the files `now` that is not among those that a record holds; None where it holds none."""
    known = {each.sha256 for each in held}
    return next((each.file for each in now if known and each.sha256 not in known), None)


@final
@dataclass(frozen=True, kw_only=True)
class RecordedCode:
    """What may be executed of the code that a record names.

    Attributes:
        trusted: whether the user trusts it. A class of a module that has been imported already needs no trust.
        source: the record's files.
        where: the record's place, for errors.
    """

    trusted: bool = False
    source: Sequence[Source] = ()
    where: str = "this record"

    def load(self, reference: str) -> type:
        """The class that `reference` names.

        Raises:
            UntrustedCodeError: if that would execute a file, and it is not trusted.
            InputError: if there is no such class, or the file was changed since the record was made.
        """
        self.allow(reference)
        self._check_unchanged(reference)
        try:
            found: type = load_class(reference, object, "class of settings")
        except InputError as error:
            raise InputError(
                f"the class that {self.where} names must still be there",
                got=f"{reference}: {error.requirement}, but got {error.got}",
                fix="Bring it back as it was when the run was made, or start from the folder where it was made",
            ) from error
        if not is_dataclass(found):
            raise InputError(
                f"the class that {self.where} names must be one of settings",
                got=f"{reference}, which is no dataclass",
                fix="Bring back the record as motet wrote it",
            )
        return found

    def allow(self, reference: str, *, ask: bool = True) -> None:
        """Raise `UntrustedCodeError` where reading would execute a file that is not trusted, if we `ask` at all."""
        place, _ = split_reference(reference, "Class")
        if self.trusted or not ask or loaded_module(place) is not None:
            return
        what = Path(place).expanduser().resolve() if place.endswith(".py") else f"the module {place}"
        raise UntrustedCodeError(
            "code that a record names is executed only if you trust it",
            got=f"{self.where} with {reference}: reading this run would execute {what}",
            fix="Pass --trust-code (in Python trust_code=True) if you trust it",
        )

    def _check_unchanged(self, reference: str) -> None:
        changed = changed_file(self.source, read_sources([reference]))
        if changed is not None:
            raise source_changed("code", changed, self.where)


def source_changed(what: str, file: str, where: object) -> InputError:
    """The error for a run whose own code was changed since."""
    return InputError(
        f"a run must be evaluated with its own {what}",
        got=f"{file}, which was changed since",
        fix=f"Bring it back to what stands under source in {where}",
    )
