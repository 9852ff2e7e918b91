"""YAML that a person gives: what it may hold, and how it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from skerry.kube.yaml_file import YamlFileError, read_documents


@pytest.mark.parametrize("merge", ["<<: *a", "<< : *a", "? <<\n  : *a", "!!merge x: *a", "<<: [*a, *a]"])
def test_no_merge_key_is_read_however_it_is_written(tmp_path: Path, merge: str) -> None:
    (tmp_path / "file").write_text(f"one: &a {{x: 1}}\ntwo:\n  {merge}\n")

    with pytest.raises(YamlFileError, match=r"file has YAML merge keys \(<<\), which are not read here"):
        read_documents(tmp_path / "file", limit_bytes=1000)


BOMB = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60))


@pytest.mark.parametrize("text", [BOMB, "a: &a [*a]", "&a {b: {c: *a}}", "--- fine\n--- &a [[*a]]"])
def test_no_alias_multiplies_what_the_file_holds(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)

    with pytest.raises(YamlFileError, match=r"file has YAML aliases \(\*\) that make more than 10000 values of it"):
        read_documents(tmp_path / "file", limit_bytes=10_000)


def test_a_plain_alias_is_what_it_names(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("one: &a {x: 1}\ntwo: *a\nthree: [*a, *a]\n")

    assert read_documents(tmp_path / "file", limit_bytes=100) == [{"one": {"x": 1}, "two": {"x": 1}, "three": [{"x": 1}, {"x": 1}]}]


def test_a_text_that_holds_the_sign_is_no_merge_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("description: 'left << right'\n---\n\"<<\": plain\n")

    assert read_documents(tmp_path / "file", limit_bytes=1000) == [{"description": "left << right"}, {"<<": "plain"}]


@pytest.mark.parametrize("text", ["{", "a: !!python/object:os.system {}", "[" * 10_000, "a: 2001-99-99"])
def test_what_is_no_plain_yaml_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "file").write_text(text)

    with pytest.raises(YamlFileError, match="file is not YAML"):
        read_documents(tmp_path / "file", limit_bytes=100_000)


def test_a_long_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a" * 101)

    with pytest.raises(YamlFileError, match="file has more than 100 bytes, the limit"):
        read_documents(tmp_path / "file", limit_bytes=100)
