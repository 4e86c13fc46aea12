"""The API as a process: uvicorn, the topics followed beside it in the same loop, until a signal."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import structlog
import uvicorn

from streams.doors.app import Guard, create_api
from streams.doors.auth import Gate
from streams.doors.door import Door
from streams.doors.following import Following
from streams.doors.sending import Sender
from streams.doors.view import View
from streams.kafka import topics
from streams.kafka.client import KafkaClient
from streams.links import Links, secrets_of
from streams.settings import Settings, SettingsError

log = structlog.get_logger()
BACKLOG = 2_048


def door_of(settings: Settings, kafka: KafkaClient) -> Door:
    """Everything that routes need; SettingsError when tokens, secret or address cannot be used."""
    gate = Gate(Path(settings.api_tokens) if settings.api_tokens else None, settings.api_host)
    links = Links(secrets_of(settings.link_secret))
    return Door(View(settings.api_scopes), gate, Sender(kafka.log(topics.COMMANDS, 0)), links)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; SettingsError says why not."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        found.listen(BACKLOG)  # whoever comes before the loop runs waits, instead of being refused
    except OSError as error:
        found.close()
        raise SettingsError(
            f"api {host}:{port}: {error.strerror}; free it, or set USAGE_STREAMS_API_HOST and USAGE_STREAMS_API_PORT"
        ) from error
    return found


def address_of(bound: socket.socket) -> str:
    """Where it is reached."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(settings: Settings, say: Callable[[str], None]) -> int:
    """Until SIGTERM or SIGINT. Exit code."""
    kafka = KafkaClient(settings.bootstrap)
    door = door_of(settings, kafka)
    bound = listen(settings.api_host, settings.api_port)
    gc.set_threshold(50_000, 20, 100)  # a check makes no circles
    gc.freeze()
    say(f"api at {address_of(bound)}, document at {address_of(bound)}/docs")
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_serve(settings, door, create_api(door), bound, kafka))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # a platform that it does not know
        return None
    return uvloop.new_event_loop


class _Server(uvicorn.Server):
    """Without its handlers of signals, which end the process before the loop is done."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(settings: Settings, door: Door, app: Guard, bound: socket.socket, kafka: KafkaClient) -> int:
    config = uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )
    server = _Server(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, setattr, server, "should_exit", True)
    following = asyncio.create_task(Following(settings, door.view, door.gate).run())
    serving = asyncio.create_task(server.serve(sockets=[bound]))
    try:
        done, _ = await asyncio.wait({following, serving}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        for task in done:
            task.result()  # what follows never ends by itself: an error ends the process, whoever supervises starts it again
        await serving
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
        await kafka.close()
    return 0
