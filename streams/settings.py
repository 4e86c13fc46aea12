"""Every setting of the service: one frozen object, read once from `USAGE_STREAMS_*`, all errors at once."""

from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

STAGES = ("meter", "watch", "warehouse", "notify")


class SettingsError(Exception):
    """A setting cannot be used; the message names each with its remedy."""


class Settings(BaseSettings):
    """What a process needs to know. Names in the environment are `USAGE_STREAMS_` + the field in capitals."""

    model_config = SettingsConfigDict(env_prefix="USAGE_STREAMS_", frozen=True, extra="ignore")

    bootstrap: str = Field("127.0.0.1:9092", description="Kafka bootstrap servers, host:port, comma separated")
    clickhouse_url: str = Field(
        "http://127.0.0.1:8123", description="ClickHouse over HTTP, with user and password if any"
    )
    registry_url: str = Field(
        "",
        description="Confluent schema registry over HTTP, for records in Confluent's frame; empty = they are refused",
    )
    data: Path = Field(Path(".usage-streams"), description="folder of the local stack and of worker files")
    group: str = Field("usage", description="prefix of the consumer groups, one a stage")
    worker_id: str = Field("", description="static membership id of this worker; a restart takes over at once")
    source_partitions: int = Field(4, ge=1, description="partitions of usage.events when it is created")
    totals_partitions: int = Field(2, ge=1, description="partitions of usage.totals when it is created")
    replication: int = Field(1, ge=1, description="replication factor of topics when they are created")
    chunk: int = Field(10_000, ge=1, description="records in one frame at most")
    linger_ms: int = Field(250, ge=0, description="how long the meter gathers a batch when little arrives")
    session_timeout_seconds: float = Field(10.0, gt=0, description="after which a silent worker's partitions move")
    commit_seconds: float = Field(1.0, gt=0, description="how often acknowledged source offsets are committed")
    seen_horizon_hours: int = Field(168, ge=1, description="how far back ids are remembered, in broker append time")
    future_skew_seconds: int = Field(300, ge=0, description="how far event time may lie after the append time")
    confirm_source: str = Field(
        "", description="id of the source stream, by which a person confirms it when retention took what proves it"
    )
    reprice: bool = Field(True, description="rate again by itself what had no price, when a catalog prices it")
    api_host: str = Field("127.0.0.1", description="where the API listens; anywhere but loopback it needs tokens")
    api_port: int = Field(8686, ge=0, le=65535, description="port of the API; 0 = a free one")
    api_tokens: str = Field("", description="file of tokens for the API (TOML); empty = loopback only, without tokens")
    api_scopes: int = Field(2_000_000, ge=1, description="scopes that the API keeps in memory at most")
    link_secret: str = Field(
        "",
        description="secret that signs links, `env:NAME` or `file:/path`; the last line signs, all verify; empty = none",
    )
    notify_private: bool = Field(False, description="let notify reach private, loopback and link-local addresses")
    public_url: str = Field(
        "", description="address under which people reach the API, for links in messages; empty = paths alone"
    )
    watch_memory_mib: int = Field(
        16,
        ge=1,
        description="packed scopes that the watch keeps in memory, a partition; decoded they take ten times that",
    )
    metrics_port: int = Field(0, ge=0, description="Prometheus metrics on loopback; 0 = off")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="of our own logs")


def load_settings(**given: object) -> Settings:
    """Settings from the environment; what is given here (flags) wins. SettingsError names every wrong one."""
    try:
        return Settings(**{k: v for k, v in given.items() if v is not None})  # type: ignore[arg-type]  # validated there
    except ValidationError as error:
        lines = [
            f"setting {'.'.join(map(str, e['loc']))}: {e['msg']} (got {e['input']!r}); set"
            f" USAGE_STREAMS_{'_'.join(map(str, e['loc'])).upper()}"
            for e in error.errors()
        ]
        raise SettingsError("\n".join(lines)) from error


def group_of(settings: Settings, stage: str) -> str:
    """The consumer group of a stage."""
    return f"{settings.group}-{stage}"
