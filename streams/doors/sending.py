"""The one place where the API appends commands. Whoever asked is told that it landed, or that nobody can say."""

import asyncio
from typing import Any

import structlog

from streams import metrics
from streams.doors.problems import Problem, away
from streams.kafka.commands_log import CommandsLog
from streams.kafka.ports import Log
from streams.outside import Away
from streams.watch.commands import AnyCommand, BadCommand

log = structlog.get_logger()
SECONDS = 10.0


class Sender:
    """Appends to usage.commands, the same bytes until the broker has them."""

    def __init__(self, commands: Log, seconds: float = SECONDS) -> None:
        self._commands, self._seconds = CommandsLog(commands), seconds

    async def send(self, command: AnyCommand) -> dict[str, Any]:
        """What the caller is told. Problem 422 for what nobody could read, 503 when the broker does not answer in time."""
        kind = str(command.__struct_config__.tag)
        try:
            async with asyncio.timeout(self._seconds):
                offset = await self._commands.append(command)
        except BadCommand as error:
            raise Problem(422, str(error)) from error
        except (TimeoutError, Away) as error:
            log.warning("command is not acknowledged", kind=kind, command=command.command_id, error=str(error))
            raise away(
                f"{kind} {command.command_id}: the broker has not acknowledged it, it may count or not; look, then send again"
            ) from error
        metrics.COMMANDS.labels(kind).inc()
        log.info("command", kind=kind, command=command.command_id, by=command.by, offset=offset)
        return {"command_id": command.command_id, "offset": offset, "by": command.by}
