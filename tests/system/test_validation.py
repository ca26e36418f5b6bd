"""Limits and types of settings."""

import os
from dataclasses import dataclass
from typing import Annotated

import pytest

from system.errors import UserError
from system.validation import Between, LocalPath, OneOf, Validated, local_path, read_hint


@dataclass(frozen=True, kw_only=True)
class Settings(Validated):
    count: Annotated[int, Between(1, 10)] = 5
    rate: Annotated[float, Between(1e-8, 0.5)] = 0.1
    name: str = "plain"
    kind: Annotated[str, OneOf(("red", "green", "blue"))] = "red"
    flag: Annotated[bool, OneOf((True, False))] = True
    names: tuple[str, ...] = ()
    folder: Annotated[str, LocalPath()] = ""


@pytest.mark.parametrize(
    ("name", "value", "kind"),
    [
        ("count", "5", "int"),
        ("count", 5.0, "int"),
        ("count", True, "int"),
        ("rate", "0.1", "float"),
        ("rate", True, "float"),
        ("name", 5, "str"),
        ("name", None, "str"),
        ("kind", 1, "str"),
        ("flag", 1, "bool"),
        ("flag", 0, "bool"),
    ],
)
def test_validated_refuses_a_value_of_another_type(name, value, kind):
    with pytest.raises(UserError, match=rf"^--{name} .*: must be of type {kind}$"):
        Settings(**{name: value})


def test_validated_accepts_an_int_where_a_float_is_expected():
    @dataclass(frozen=True, kw_only=True)
    class Rate(Validated):
        rate: Annotated[float, Between(0, 1)] = 0.5

    assert Rate(rate=1).rate == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_validated_refuses_a_number_that_is_not_finite(value):
    with pytest.raises(UserError, match=f"^--rate {value}: must be from 0.00000001 to 0.5$"):
        Settings(rate=value)


def test_validated_refuses_a_value_that_is_not_a_choice():
    with pytest.raises(UserError, match="^--kind pink: must be red or green or blue$"):
        Settings(kind="pink")


def test_validated_refuses_a_number_outside_its_limits():
    assert [Settings(count=count).count for count in (1, 10)] == [1, 10]
    for count in (0, 11):
        with pytest.raises(UserError, match=f"^--count {count}: must be from 1 to 10$"):
            Settings(count=count)


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (Between(16, 4096), "16 to 4096"),
        (Between(0, 1_000_000), "0 to 1000000"),
        (Between(1e-8, 10), "0.00000001 to 10"),
        (Between(0.25, 1.5), "0.25 to 1.5"),
    ],
)
def test_between_is_shown_without_an_exponent(limits, text):
    assert str(limits) == text


def test_read_hint_separates_the_type_from_its_limits():
    assert read_hint(int) == (int, None)
    assert read_hint(Annotated[int, Between(1, 2)]) == (int, Between(1, 2))
    assert read_hint(Annotated[str, "a remark", OneOf(("a", "b"))]) == (str, OneOf(("a", "b")))
    assert read_hint(Annotated[str, "a remark"]) == (str, None)


# ---- paths ----


@pytest.mark.parametrize(
    "name",
    ["", "a", "a/b", "/a", "a:b", "a:/b", "C:/a", "C://a", "a b://", "://a", "a~", "./~", "-", "a\\b"],
)
def test_local_path_leaves_ordinary_names_alone(name):
    assert local_path(name, setting="--folder") == name


@pytest.mark.parametrize(
    "name", ["gs://bucket/run", "S3://bucket", "gs:/bucket", "file:///tmp/a", "https://example.org", "git+ssh://a"]
)
def test_local_path_refuses_a_url(name):
    with pytest.raises(UserError) as refused:
        Settings(folder=name)
    assert str(refused.value) == (
        f"--folder {name}: is a URL; only files and folders of this machine can be used: copy it here"
    )


@pytest.mark.skipif(os.name == "nt", reason="home folders of POSIX")
def test_local_path_expands_home_folders(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Settings(folder="~/nets").folder == f"{tmp_path}/nets"
    assert Settings(folder="~").folder == str(tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("~nobody-of-this-name", "~nobody-of-this-name/a"):
        with pytest.raises(
            UserError, match=f"^--folder {name}: no such home folder; write the whole path, or ./{name}$"
        ):
            Settings(folder=name)
    (tmp_path / "~$letter.jpg").touch()  # of an office program
    assert Settings(folder="~$letter.jpg").folder == "~$letter.jpg"


@pytest.mark.skipif(os.name == "nt", reason="home folders of POSIX")
def test_local_path_does_not_need_a_home_variable(tmp_path, monkeypatch):
    import pwd

    monkeypatch.delenv("HOME", raising=False)
    assert Settings(folder="~/nets").folder == f"{pwd.getpwuid(os.getuid()).pw_dir}/nets"
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # a user without an entry
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~" / "nets").mkdir(parents=True)  # made by mistake
    for name in ("~", "~/nets"):
        with pytest.raises(UserError, match="no such home folder"):
            Settings(folder=name)
