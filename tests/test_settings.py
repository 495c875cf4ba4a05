"""The environment is read once, whole, and strictly."""

from pathlib import Path

import pytest

from errors import SettingsError
from settings import SOCKET_PATH_BYTES, Settings, table

ROOT = Path(__file__).resolve().parents[1]


def test_nothing_set_is_the_embedded_farm_on_loopback() -> None:
    settings = Settings.from_env({})
    assert settings.embedded
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.queue_url.startswith("redis+socket:///")


def test_misspelt_name_is_an_error_that_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"PENSTOCK_PROT is not a setting.*PENSTOCK_PORT"):
        Settings.from_env({"PENSTOCK_PROT": "80"})


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"PENSTOCK_PORT": "http"}, "PENSTOCK_PORT is 'http'; it must be a number"),
        ({"PENSTOCK_PORT": "-1"}, "must not be negative"),
        ({"PENSTOCK_LOG_LEVEL": "loud"}, "use one of debug, info, warning, error"),
        ({"PENSTOCK_BROKER_URL": "amqp://localhost"}, "set both"),
        ({"PENSTOCK_REDIS_URL_FILE": "/nowhere/at/all"}, "PENSTOCK_REDIS_URL_FILE names a file that cannot be read"),
    ],
)
def test_bad_value_says_which_setting_and_why(env: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        Settings.from_env(env)


def test_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "redis").write_text("redis://:hush@db:6379/0\n")
    settings = Settings.from_env(
        {"PENSTOCK_REDIS_URL_FILE": str(tmp_path / "redis"), "PENSTOCK_BROKER_URL": "amqp://u:p@mq:5672/"}
    )
    assert settings.store_url == "redis://:hush@db:6379/0"


def test_shown_settings_carry_no_secret() -> None:
    settings = Settings(
        broker_url="amqp://user:hush@mq:5672/",
        redis_url="redis://:hush@db:6379/0",
        objects_url="s3://key:hush@s3:9000/b",
    )
    shown = settings.shown()
    assert "hush" not in str(shown)
    assert shown["PENSTOCK_BROKER_URL"] == "amqp://***@mq:5672/"


def test_socket_of_a_deep_data_folder_is_put_where_its_name_fits(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 150)
    assert len(str(Settings(data=deep).socket)) <= SOCKET_PATH_BYTES


def test_settings_table_of_the_docs_is_the_one_in_force() -> None:
    assert table() in (ROOT / "docs" / "settings.md").read_text(), "run `make docs`"
