from __future__ import annotations

import pytest

from skerry.model.quantity import QuantityError, canonical, parse


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("0.5", "500m"),
        ("1024Mi", "1Gi"),
        ("1000m", "1"),
        ("1.5Gi", "1536Mi"),
        ("1500M", "1500M"),
        ("1e3", "1e3"),
        ("100000k", "100M"),
        ("1024", "1024"),
        ("0", "0"),
        ("100m", "100m"),
        ("2", "2"),
        ("128Ki", "128Ki"),
    ],
)
def test_quantities_take_their_canonical_form(text: str, want: str) -> None:
    assert canonical(text) == want


@pytest.mark.parametrize("text", ["1Zi", "x", "", "1 Gi", "--1", "1e", "9" * 60])
def test_what_is_not_a_quantity_is_refused(text: str) -> None:
    with pytest.raises(QuantityError):
        parse(text)


def test_only_a_value_with_a_binary_suffix_is_capped() -> None:
    assert parse("100Ei") == 2**63 - 1
    assert canonical("12345678901234567890") == "12345678901234567890"
