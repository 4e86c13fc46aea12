"""The README knows every setting and every topic."""

from pathlib import Path

from streams.kafka.topics import topics
from streams.settings import Settings

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_every_setting_is_listed_with_its_default() -> None:
    for name, field in Settings.model_fields.items():
        assert f"| `USAGE_STREAMS_{name.upper()}` | `{field.default}` | {field.description} |" in README


def test_every_topic_is_listed() -> None:
    for topic in topics(Settings()):
        assert f"`{topic.name}`" in README
