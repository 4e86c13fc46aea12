"""One stage as a process: `python -m streams.worker STAGE`. The only module that starts a Faust worker.

Faust's own command line is not used: it overrides settings (web server, root log level) that matter here.
"""

import asyncio
import os
import sys

import structlog
from faust.worker import Worker
from prometheus_client import start_http_server

from streams import logs
from streams.app import STAGES, create_app
from streams.settings import SettingsError, load_settings

log = structlog.get_logger()


def main(argv: list[str]) -> int:
    """Run one stage until SIGTERM or SIGINT. Exit codes: 0 stopped, 2 wrong usage or settings, 3 a broken log."""
    if len(argv) != 1 or argv[0] not in STAGES:
        print(f"usage: python -m streams.worker {{{'|'.join(STAGES)}}}", file=sys.stderr)
        return 2
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    os.environ.pop("RUST_BACKTRACE", None)  # a polars panic is caught and becomes a dead letter
    logs.configure(settings.log_level)
    if settings.metrics_port:
        start_http_server(settings.metrics_port + STAGES.index(argv[0]), "127.0.0.1")
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    app = create_app(settings, argv[0])
    log.info("worker starts", stage=argv[0], pid=os.getpid(), bootstrap=settings.bootstrap)
    worker = Worker(app, loop=loop, loglevel="WARN", logging_config={"version": 1, "disable_existing_loggers": False}, quiet=True, redirect_stdouts=False)
    try:
        worker.execute_from_commandline()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
