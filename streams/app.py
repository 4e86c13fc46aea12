"""create_app(settings, stage): a stage as a Faust app, wired; connects to nothing until it is started."""

import time
from typing import Any

import faust

from streams import metrics
from streams.kafka import topics
from streams.kafka.catalog_log import CatalogLog
from streams.kafka.client import KafkaClient
from streams.kafka.transport import ChunkTransport
from streams.settings import STAGES, Settings, group_of


def create_app(settings: Settings, stage: str) -> Any:
    """The Faust app of one stage.

    Settings that are not obvious: `stream_wait_empty` off, since a revocation must not wait; `earliest`, since a commit that
    is lost must not skip; no web server, since Faust's serves on every interface without a password.
    """
    app = faust.App(
        group_of(settings, stage),
        broker=f"kafka://{settings.bootstrap}",
        key_serializer="raw",
        value_serializer="raw",
        store="memory://",
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        stream_wait_empty=False,
        stream_buffer_maxsize=16,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=4 << 20,
        broker_max_poll_records=10_000,
        broker_commit_interval=settings.commit_seconds,
        broker_session_timeout=settings.session_timeout_seconds,
        broker_heartbeat_interval=min(3.0, settings.session_timeout_seconds / 3),
        producer_request_timeout=30,
        table_standby_replicas=0,
        agent_supervisor="mode.CrashingSupervisor",
        datadir=str(settings.data / "faust" / stage),
        consumer_group_instance_id=f"{settings.worker_id}-{stage}" if settings.worker_id else None,
    )
    app.transport = ChunkTransport(app.conf.broker_consumer, app)
    kafka = KafkaClient(settings.bootstrap)
    catalogs = CatalogLog(kafka.log(topics.CATALOG, 0))
    match stage:
        case "meter":
            from streams.agents.meter import create_meter

            create_meter(app, settings, kafka, catalogs)
            _tell_age(app, catalogs)
        case "watch":
            from streams.agents.watch import create_watch

            create_watch(app, settings, kafka, catalogs)
        case "warehouse":
            from streams.agents.warehouse import create_warehouse

            create_warehouse(app, settings, kafka)
        case "notify":
            from streams.agents.notify import create_notify

            create_notify(app, settings, kafka, catalogs)
        case _:
            raise ValueError(f"stage {stage}: unknown; choose from {', '.join(STAGES)}")
    return app


def _tell_age(app: Any, catalogs: CatalogLog) -> None:
    """The age of the catalog as a metric; the meter reads what is published every second."""

    @app.timer(1.0)  # type: ignore[untyped-decorator]  # faust has no types
    async def tell_age() -> None:
        if catalogs.sequence:
            metrics.CATALOG_AGE.set(max(0.0, time.time() - catalogs.published_ms[catalogs.sequence] / 1000))
