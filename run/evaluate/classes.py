"""Which class of the data is which of the model's: by name, or as the command line says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import ConfigurationError

#: So many names are listed where some do not fit.
SHOWN = 12


@dataclass(frozen=True)
class Classes:
    """The classes that are judged."""

    #: The model's label of each, and what reports call it.
    labels: tuple[str, ...]
    names: tuple[str, ...]
    #: Class number in the data -> place in `labels`. Several may be one for the model.
    places: dict[int, int]
    #: Of the data, those that the model does not know: what they stand for is not looked for.
    left_out: tuple[str, ...] = ()
    #: Of the model, those that the data do not name: what it finds of them is not counted.
    unused: tuple[str, ...] = ()


def matched(
    names: tuple[str, ...] | None, labels: tuple[str, ...], given: Sequence[str]
) -> Classes:
    """The classes that data and model share. `given` has pairs DATA=MODEL.

    Raises ConfigurationError for a name that neither has, and where none is shared.
    """
    known = {label.casefold(): label for label in labels}
    pairs = dict(_pair(text, names, labels) for text in given)
    if names is None:
        names = labels
    wanted = [
        pairs[name.casefold()] if name.casefold() in pairs else known.get(name.casefold())
        for name in names
    ]
    found = tuple(dict.fromkeys(label for label in wanted if label is not None))
    if not found:
        raise ConfigurationError(
            f"no class of the data ({listed(names)}) is one of the model's ({listed(labels)}); "
            f'say which is which, such as --map "{names[0]}={labels[0]}"'
        )
    return Classes(
        labels=found,
        names=tuple(_called(label, names, wanted) for label in found),
        places={
            number: found.index(label) for number, label in enumerate(wanted) if label is not None
        },
        left_out=tuple(name for name, label in zip(names, wanted, strict=True) if label is None),
        unused=tuple(label for label in labels if label not in found),
    )


def _called(label: str, names: Sequence[str], wanted: Sequence[str | None]) -> str:
    """The model's label, with the data's names where those are others."""
    own = [name for name, one in zip(names, wanted, strict=True) if one == label]
    if all(name.casefold() == label.casefold() for name in own):
        return label
    return f"{label} ({', '.join(own)})"


def _pair(text: str, names: tuple[str, ...] | None, labels: tuple[str, ...]) -> tuple[str, str]:
    name, sign, label = (part.strip() for part in text.partition("="))
    if not sign or not name or not label:
        raise ConfigurationError(
            f'--map "{text}": wanted is "class of the data=class of the model"'
        )
    ours = next((each for each in labels if each.casefold() == label.casefold()), None)
    theirs = names or labels
    there = name.casefold() in {each.casefold() for each in theirs}
    if ours is None or not there:
        turned = next((each for each in labels if each.casefold() == name.casefold()), None)
        if turned and label.casefold() in {each.casefold() for each in theirs}:
            raise ConfigurationError(
                f'--map "{text}": the class of the data comes first: --map "{label}={name}"'
            )
        if ours is None:
            raise ConfigurationError(
                f'--map "{text}": the model knows no {label!r}; it has {listed(labels)}'
            )
        raise ConfigurationError(
            f'--map "{text}": the data name no {name!r}; they have {listed(theirs)}'
        )
    return name.casefold(), ours


def listed(names: Sequence[str]) -> str:
    """Some of the names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
