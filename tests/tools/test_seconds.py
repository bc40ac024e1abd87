import pytest
from pydantic import TypeAdapter, ValidationError

from tools.seconds import Seconds, write

READ = TypeAdapter(Seconds)


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (83.5, 83.5),
        ("83.5", 83.5),
        ("83.5s", 83.5),
        ("<83.5s>", 83.5),
        (" 12 seconds ", 12.0),
        ("1:23.5", 83.5),
        ("00:01:23.5", 83.5),
        ("1:00:00", 3600.0),
        ("-3", -3.0),
    ],
)
def test_seconds_are_read_as_models_write_them(given: object, seconds: float) -> None:
    assert READ.validate_python(given) == seconds


@pytest.mark.parametrize("given", ["soon", "", "1:2:3:4", "nan", "inf", float("nan"), None, [1]])
def test_what_is_no_second_is_refused(given: object) -> None:
    with pytest.raises(ValidationError):
        READ.validate_python(given)


def test_seconds_are_written_short() -> None:
    assert [write(each) for each in (840.0, 12.34, 0)] == ["840", "12.3", "0"]
