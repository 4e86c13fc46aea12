"""The dimensions that scopes, matchers and limits may name: columns of an event, or its own attributes."""

from typing import Annotated

from pydantic import AfterValidator

from streams.catalog.registries import is_attribute

DIMENSIONS = (
    "tenant_id", "provider", "model", "application", "environment", "team", "project", "cost_center", "use_case",
    "business_process", "request_type", "workload_id", "workload_class", "model_tier", "agent_id", "workflow_id", "run_id",
    "conversation_id", "session_id", "user_id", "user_role", "channel", "api_key_id", "account_id", "region",
    "business_owner", "technical_owner", "accountable", "archetype", "approval_status", "data_class",
)  # fmt: skip


def _dimension(name: str) -> str:
    if name not in DIMENSIONS and not is_attribute(name):
        raise ValueError(f"dimension {name}: there is none; take one of {', '.join(DIMENSIONS)} or attributes.KEY")
    return name


Dimension = Annotated[str, AfterValidator(_dimension)]
