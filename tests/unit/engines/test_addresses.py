"""What of a server's address is shown and stored: never the name and password in it."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuning_room.engines.addresses import hidden, public, secrets

SHOWN = {
    "https://user:pass@host:5000/path": "https://host:5000/path",
    "https://token@host/path?version=2#top": "https://host/path?version=2#top",
    "http://user:p@ss@host/v1": "http://host/v1",
    "http://user:@[::1]:8000/v1": "http://[::1]:8000/v1",
    "postgresql://user:pass@host/db": "postgresql://host/db",
    # Not valid, and so nothing of what may be a password is left.
    "http://user:pa/ss@host/v1": "http://host/v1",
    "http://user:pa?ss#@host/v1": "http://host/v1",
    "user:pass@host/v1": "host/v1",
    "http://user:pass@[half/v1": "http://[half/v1",
    # Nothing to hide
    "https://host/path": "https://host/path",
    "http://localhost:8000/v1/@team/model": "http://localhost:8000/v1/@team/model",
    "sqlite:////tmp/ada@home/mlflow.db": "sqlite:////tmp/ada@home/mlflow.db",
    "": "",
}


@pytest.mark.parametrize(("address", "shown"), SHOWN.items())
def test_an_address_is_shown_without_name_and_password(address: str, shown: str) -> None:
    assert public(address) == shown
    assert public(shown) == shown


@given(st.text(min_size=6), st.text(), st.sampled_from(["http", "https", "postgresql"]))
def test_no_password_that_is_written_as_it_has_to_be_is_left(password: str, name: str, scheme: str) -> None:
    userinfo = f"{quote(name, safe='')}:{quote(password, safe='')}"
    address = f"{scheme}://{userinfo}@host.example:8000/v1"
    assert public(address) == f"{scheme}://host.example:8000/v1"
    assert {password, userinfo} <= set(secrets(address))
    assert password not in hidden(f"refused {userinfo} and {password}.", secrets(address)).replace("***", "")


@given(st.text("abc:/?#[]@%. 1", min_size=1))
def test_whatever_stands_before_the_last_at_sign_of_an_invalid_address_is_not_shown(password: str) -> None:
    assert "QQ" not in public(f"http://user:QQ{password}QQ@host/v1").partition("host")[0]


def test_a_short_secret_is_not_looked_for_in_words() -> None:
    assert "a" not in secrets("http://a:b@host/v1")
    assert hidden("as it is", ["", "is"]) == "as it ***"
