"""Registries of attribution: which workloads, provider keys and models there are, who answers for them, what an event must say.

An entry holds for one tenant, or for "*" each tenant; a tenant's own entry wins whole. What an event declares itself always
wins over its workload, the workload over the key. A registry is not a filter: what it does not list is metered and flagged.
"""

import re
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from streams.catalog.decided import Decided

Name = Annotated[str, Field(min_length=1, max_length=128)]
Text = Annotated[str, Field(max_length=256)]
Tags = Annotated[dict[str, Name], Field(max_length=32)]
Approval = Literal["approved", "experimental", "unapproved"]
Standing = Literal["preferred", "allowed", "blocked"]  # of a model within a workload class
Archetype = Literal[
    "simple_qa", "chatbot", "document_analysis", "agent", "code", "content", "classification", "batch", "other"
]  # the shapes of use whose token ratios are compared with each other

OF_ATTRIBUTES = "attributes."
ATTRIBUTE_KEY = re.compile(r"[A-Za-z0-9_.:/-]{1,64}")
# The minimum of a production call. `owner` is there when a business or a technical owner is.
MINIMUM = (
    "application", "owner", "environment", "model", "provider", "cost_center", "use_case", "business_process", "request_type",
)  # fmt: skip
REQUIRABLE = (
    *MINIMUM, "business_owner", "technical_owner", "accountable", "team", "project", "workload_id", "workload_class",
    "archetype", "model_tier", "approval_status", "agent_id", "workflow_id", "run_id", "step", "conversation_id",
    "session_id", "user_id", "user_role", "channel", "api_key_id", "account_id", "provider_project", "provider_workspace",
    "procurement_model", "region", "endpoint", "model_version", "service_tier", "prompt_id", "prompt_version", "data_class",
    "trace_id", "producer",
)  # fmt: skip
MOST_REQUIRED = 60  # different fields in one catalog: each is a bit of an Int64


def is_attribute(name: str) -> bool:
    """Whether a dimension is one of the event's own `attributes`, written `attributes.KEY`."""
    return name.startswith(OF_ATTRIBUTES) and bool(ATTRIBUTE_KEY.fullmatch(name.removeprefix(OF_ATTRIBUTES)))


def _requirable(name: str) -> str:
    if name not in REQUIRABLE and not is_attribute(name):
        raise ValueError(f"required {name}: no such field; take one of {', '.join(REQUIRABLE)} or attributes.KEY")
    return name


Required = Annotated[str, AfterValidator(_requirable)]


class Workload(Decided):
    """A thing that AI is used for: who owns it, what it may cost, how its worth is seen; `id` is an event's `workload_id`."""

    id: Name
    tenant: Name = "*"
    name: Text = ""
    business_owner: Name
    technical_owner: Name
    cost_center: Name
    accountable: Name | None = None  # who answers for its cost; else the tenant's accountable person
    application: Name | None = None
    environment: Name | None = None
    team: Name | None = None
    project: Name | None = None
    use_case: Name | None = None
    business_process: Name | None = None
    request_type: Name | None = None  # only where all of its calls are of one type
    workload_class: Name | None = None
    archetype: Archetype | None = None
    approval: Approval = "experimental"
    data_class: Name | None = None
    tier: Name | None = None  # the model tier that it should use; what is used says the model registry
    expected_tokens_per_month: int | None = Field(None, gt=0)
    expected_events_per_month: int | None = Field(None, gt=0)
    budget: Name | None = None  # id of a budget of this catalog
    tags: Tags = Field(default_factory=dict)  # attributes that its events get where they do not declare them
    fallback: Text = ""  # what happens when the model is away or the budget is spent
    quality_metric: Text = ""
    value_metric: Text = ""
    review_on: date | None = None

    @model_validator(mode="after")
    def _holds(self) -> "Workload":
        for key in self.tags:
            if not ATTRIBUTE_KEY.fullmatch(key):
                raise ValueError(
                    f"workload {self.id}: tag {key!r} is no key; write letters, digits and _ . : / -, at most 64"
                )
        return self


class ProviderKey(Decided):
    """A key at a provider, by its id, never by itself: who holds it and what it is for. Its `id` is `api_key_id` of events."""

    id: Name
    provider: Name
    tenant: Name = "*"
    owner: Name  # who holds it: the technical owner of what it is used for
    business_owner: Name | None = None
    cost_center: Name
    approved_use: Text
    workload: Name | None = None  # the one workload that it serves
    application: Name | None = None
    environment: Name | None = None
    team: Name | None = None
    project: Name | None = None
    use_case: Name | None = None
    account_id: Name | None = None
    provider_project: Name | None = None
    provider_workspace: Name | None = None
    procurement_model: Literal["payg", "commitment", "provisioned", "seat", "marketplace"] | None = None
    created_on: date | None = None
    rotated_on: date | None = None
    rotate_days: int | None = Field(None, gt=0)
    last_used_on: date | None = None  # as the provider says; what we see ourselves is in the warehouse
    retired: bool = False

    @model_validator(mode="after")
    def _holds(self) -> "ProviderKey":
        if re.match(r"(sk|pk|xai|gsk|AKIA|AIza)[-_A-Za-z0-9]{18,}$", self.id):
            raise ValueError("id looks like the key itself; write the id by which the provider lists it")
        return self


class ModelEntry(Decided):
    """A model that may be used, by the name under which prices know it: its tier, and by whom it may be used."""

    provider: Name
    model: Name
    tenant: Name = "*"
    tier: Name | None = None
    approval: Approval = "unapproved"  # for whoever is not named below
    workloads: dict[Name, Approval] = Field(default_factory=dict)  # by workload id; wins over the class
    classes: dict[Name, Standing] = Field(default_factory=dict)  # by workload class; blocked is unapproved


class Requirement(Decided):
    """What events of a tenant and environment must say; the most specific one holds, the tenant before the environment."""

    tenant: Name = "*"
    environment: Name = "*"
    required: tuple[Required, ...]
    on_breach: Literal["warn", "dead_letter"] = "warn"


class Registries(Decided):
    """The part of a catalog that attribution reads."""

    workloads: tuple[Workload, ...] = ()
    keys: tuple[ProviderKey, ...] = ()
    models: tuple[ModelEntry, ...] = ()
    requirements: tuple[Requirement, ...] = ()
