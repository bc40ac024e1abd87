"""README says what the code says."""

from pathlib import Path

from agents.presets import Catalogue, strategy_tables

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


def test_the_strategy_tables_are_those_of_the_code() -> None:
    assert strategy_tables(Catalogue.load()) in README, "run: secondlook strategies --markdown"


def test_is_short_enough_to_be_read() -> None:
    assert len(README.splitlines()) <= 280
