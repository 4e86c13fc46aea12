"""One stage as a process: `python -m streams.worker STAGE`. The only module that starts a Faust app.

Neither Faust's command line nor its Worker is used: they override settings (web server, root log level) and swallow the
reason of a crash.
"""

import asyncio
import gc
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from prometheus_client import start_http_server

from streams import logs
from streams.app import create_app
from streams.kafka.client import BrokerAway, answers
from streams.settings import STAGES, SettingsError, load_settings

log = structlog.get_logger()
FRAME_THREADS = 2


def main(argv: list[str]) -> int:
    """Run one stage until a signal. Exit codes: 0 stopped, 1 crashed, 2 wrong usage, settings or address, 3 a broken log."""
    if len(argv) != 1 or argv[0] not in STAGES:
        print(f"usage: python -m streams.worker {{{'|'.join(STAGES)}}}", file=sys.stderr)
        return 2
    try:
        settings = load_settings()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    gc.set_threshold(
        200_000, 20, 50
    )  # records are many and form no cycles: the default looks at all of them again and again
    os.environ.pop("RUST_BACKTRACE", None)  # a polars panic is caught and becomes a dead letter
    sys.setswitchinterval(0.0005)
    logs.configure(settings.log_level)
    if settings.metrics_port:
        port = settings.metrics_port + STAGES.index(argv[0])
        try:
            start_http_server(port, "127.0.0.1")
        except OSError as error:
            log.critical(f"metrics port {port}: {error.strerror}; free it, or set USAGE_STREAMS_METRICS_PORT")
            return 2

    async def stage() -> int:
        await answers(settings.bootstrap)
        # Two threads of frames: more only wait for each other, and the loop gets its turn soon.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(FRAME_THREADS))
        app = create_app(settings, argv[0])
        app.conf.datadir.parent.mkdir(parents=True, exist_ok=True)  # Faust makes the last folder only
        app.finalize()
        gc.freeze()
        return await run(app)

    log.info("worker starts", stage=argv[0], pid=os.getpid(), bootstrap=settings.bootstrap)
    try:
        return asyncio.run(stage())
    except BrokerAway as error:
        log.critical(str(error))
        return 2


async def run(app: Any) -> int:
    """Run a Faust app until a signal or its crash."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await app.start()
    waits = [asyncio.ensure_future(w) for w in (stop.wait(), app.wait_until_stopped())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    crash = app.crash_reason
    await app.stop()
    for wait in waits:
        wait.cancel()
    if crash is not None:
        log.critical("worker crashed", exc_info=crash)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
