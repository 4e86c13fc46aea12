"""What happened and may explain a figure: deploys, prompt versions, incidents, as people or their pipelines post them."""

from typing import Literal

from pydantic import Field

from streams.catalog.alerting import Matcher
from streams.catalog.decided import Decided
from streams.catalog.limits import Moment


class Annotation(Decided):
    """One of them; `match` says whose figures it may explain, none = everybody's."""

    id: str = Field(pattern="^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$")
    type: Literal["deploy", "prompt_version", "incident", "other"]
    text: str = Field(min_length=1, max_length=1024)
    moment: Moment
    match: Matcher = Matcher()
    link: str = Field("", max_length=1024)
