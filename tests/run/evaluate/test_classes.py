"""run.evaluate.classes: which class of the data is which of the model's."""

from __future__ import annotations

import pytest

from pipeline.errors import ConfigurationError
from run.evaluate.classes import matched


def test_by_name() -> None:
    """Names match whatever their case; what the other side does not know is said."""
    found = matched(("Wallet", "Phone"), ("phone", "remote"), [])
    assert (found.labels, found.places) == (("phone",), {1: 0})
    assert (found.left_out, found.unused) == (("Wallet",), ("remote",))


def test_several_of_the_data_are_one_of_the_model() -> None:
    """Each of them is looked for, under one name that says so."""
    pairs = ["cell phone=phone", "smartphone = Phone"]
    found = matched(("cell phone", "smartphone", "cup"), ("phone",), pairs)
    assert found.places == {0: 0, 1: 0}
    assert found.names == ("phone (cell phone, smartphone)",)


def test_numbers_without_names_are_the_models() -> None:
    """0 is its first label, and so on."""
    assert matched(None, ("phone", "remote"), []).places == {0: 0, 1: 1}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], r'no class of the data \(cell phone, cup\) is one of the model\'s \(phone\); say '
         r'which is which, such as --map "cell phone=phone"'),
        (["phone=cell phone"], r'the class of the data comes first: --map "cell phone=phone"'),
        (["cell phone=telephone"], r"the model knows no 'telephone'; it has phone"),
        (["telephone=phone"], r"the data name no 'telephone'; they have cell phone, cup"),
        (["cell phone"], r'wanted is "class of the data=class of the model"'),
    ],
)  # fmt: skip
def test_names_that_do_not_fit(given: list[str], says: str) -> None:
    """The message has both sides' names, and what to type."""
    with pytest.raises(ConfigurationError, match=says):
        matched(("cell phone", "cup"), ("phone",), given)
