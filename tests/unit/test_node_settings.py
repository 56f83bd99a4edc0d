"""node.toml: what is understood, and the error for what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpc.errors import UsageError
from unseen import settings as toml
from unseen.home import LONGEST_SOCKET_PATH, Home, exclusive
from unseen.node import settings
from unseen.node.settings import NodeSettings

GOOD = """
listen = "127.0.0.1:7700"
coordinator = "coordinator@10.0.0.5:7600"

[[product]]
name = "marriage-status"
requires_consent = true
consent_issuers = ["id-platform"]
epoch = "24h"
grace = "30m"

[product.data]
name = "registry"
source = "registry.csv"
keys = ["id"]
answer = "status"
codes = { unmarried = 0, married = 1 }
"""


def load(tmp_path: Path, text: str) -> NodeSettings:
    (tmp_path / "node.toml").write_text(text, encoding="utf-8")
    return settings.load(Home(tmp_path))


def test_a_whole_file(tmp_path: Path) -> None:
    values = load(tmp_path, GOOD)
    (product,) = values.product
    assert (product.epoch, product.grace) == (86400, 1800)
    assert product.form == "resident-id"
    assert product.data.columns == ("id", "status")
    assert product.encode("married") == b"\x01"
    assert values.address == "127.0.0.1:7700"
    assert values.find("marriage-status") is product
    assert values.find("other") is None


def test_a_product_is_of_the_suite_of_its_node(tmp_path: Path) -> None:
    [product] = load(tmp_path, GOOD.replace("requires_consent", 'suite = "gm"\nrequires_consent')).product
    settings.check_suite(product, "gm")
    with pytest.raises(UsageError, match="of suite 'gm', the node's identity of 'intl'"):
        settings.check_suite(product, "intl")
    with pytest.raises(UsageError, match="suite"):
        load(tmp_path, GOOD.replace("requires_consent", 'suite = "rot13"\nrequires_consent'))


def test_two_key_columns_make_a_pair(tmp_path: Path) -> None:
    values = load(tmp_path, GOOD.replace('keys = ["id"]', 'keys = ["one", "other"]'))
    assert values.product[0].form == "pair:resident-id"


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('listen = "127.0.0.1:7700"', "", "listen is missing; add it"),
        ('listen = "127.0.0.1:7700"', 'listen = "7700"', "an address is host:port"),
        ('listen = "127.0.0.1:7700"', 'listen = "0.0.0.0:7700"', "say which one others dial"),
        ('"coordinator@10.0.0.5:7600"', '"10.0.0.5:7600"', "name@host:port"),
        ("listen", "Listen", "unknown key Listen; did you mean 'listen'?"),
        ("grace", "graze", "unknown key product[1].graze; did you mean 'grace'?"),
        ("answer =", "colour = 1\nanswer =", "unknown key product[1].data.colour; remove it"),
        ('epoch = "24h"', "epoch = 24", "a duration is a number and a unit"),
        ('epoch = "24h"', 'epoch = "0h"', "a duration is a number and a unit"),
        ('grace = "30m"', 'grace = "2d"', "grace must not be longer than epoch"),
        ("requires_consent = true", "", "requires_consent is missing"),
        ("requires_consent = true", "requires_consent = false", "decide which one is meant"),
        ('consent_issuers = ["id-platform"]', "", "name who may issue consents"),
        ('"marriage-status"', '"Marriage"', "lower-case"),
        ("married = 1 }", "married = 0 }", "two answers have the same code"),
        ("married = 1 }", "married = 256 }", "raise answer_bytes"),
        ("epoch =", 'default_answer = "widowed"\nepoch =', "has no code"),
        ("epoch =", "answer_bytes = 65\nepoch =", "less than or equal to 64"),
        ('keys = ["id"]', "keys = []", "at least 1"),
        ("[[product]]", "[[product]", "is not TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, text: str) -> None:
    assert old in GOOD
    with pytest.raises(UsageError) as caught:
        load(tmp_path, GOOD.replace(old, new, 1))
    assert text in str(caught.value)
    assert "node.toml" in str(caught.value)


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load(tmp_path, GOOD.replace("listen", "Listen").replace('epoch = "24h"', 'epoch = "x"'))
    for text in ("unknown key Listen", "listen is missing", "product[1].epoch"):
        assert text in str(caught.value)


def test_no_text_is_taken_for_an_answer_that_has_none(tmp_path: Path) -> None:
    (product,) = load(tmp_path, GOOD).product
    with pytest.raises(UsageError, match="no code") as caught:
        product.encode("widowed-secret")
    assert "secret" not in str(caught.value)
    text = GOOD.replace("codes = { unmarried = 0, married = 1 }", "").replace("epoch =", "answer_bytes = 6\nepoch =")
    (product,) = load(tmp_path, text).product
    assert product.encode("卫生") == "卫生".encode()
    assert product.encode("a") == b"a\0\0\0\0\0"
    with pytest.raises(UsageError, match="does not fit"):
        product.encode("卫生证")


def test_durations_and_addresses() -> None:
    assert [toml.parse_duration(text) for text in ("90s", "15m", "24h", "30d")] == [90, 900, 86400, 2592000]
    for address in ("host:1", "[::1]:7700", "a.b-c.example:65535"):
        assert toml.check_address(address) == address
    for wrong in ("host", "host:", "host:65536", "::1:7700", "ho st:1"):
        with pytest.raises(ValueError, match="host:port"):
            toml.check_address(wrong)


def test_sockets_of_a_home_with_a_long_path_lie_elsewhere(tmp_path: Path) -> None:
    near, far = Home(tmp_path / "a"), Home(tmp_path / ("long" * 30))
    near.root.mkdir()
    far.root.mkdir()
    for home in (near, far):
        path = home.socket("marriage-status")
        assert len(str(path)) <= LONGEST_SOCKET_PATH
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert home.socket("marriage-status") == path
    assert near.run() != far.run()
    far.run().rmdir()


def test_a_home_is_used_by_one_process_at_a_time(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with exclusive(home, "node"):
        with exclusive(home, "coordinator"):
            pass
        with pytest.raises(UsageError, match="Stop that one"), exclusive(home, "node", timeout_s=0.1):
            pass
    with exclusive(home, "node"):
        pass
