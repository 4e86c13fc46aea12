"""usage.commands: what people do at runtime, one partition, kept for ever: its history is the audit."""

from collections.abc import AsyncIterator

import structlog

from streams.kafka.ports import Log, append_surely
from streams.watch.commands import Annotate, AnyCommand, BadCommand, Commands, read_command, sendable, write_command

log = structlog.get_logger()


class CommandsLog:
    """`state` is the fold of everything so far; `history` holds every command that could be read, by offset."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._next = 0
        self.state = Commands()
        self.history: dict[int, AnyCommand] = {}

    @property
    def annotations(self) -> dict[str, Annotate]:
        """By id; the first of an id counts."""
        found = dict[str, Annotate]()
        for command in self.history.values():
            if isinstance(command, Annotate):
                found.setdefault(command.annotation_id, command)
        return found

    async def append(self, command: AnyCommand) -> int:
        """The same bytes until the broker has them; its offset. It may stand there twice, which changes nothing.

        BadCommand for one that every reader would skip: whoever asked would be told that it landed.
        """
        body, key = write_command(command), command.command_id.encode()
        sendable(body)
        return await append_surely(self._log, body, [("kind", b"command")], key=key)

    async def read(self, start: int, stop: int | None = None) -> AsyncIterator[tuple[int, AnyCommand]]:
        """Commands from an offset on; one that cannot be read is skipped and said."""
        begin, _ = await self._log.bounds()
        async for message in self._log.read(max(begin, start), stop):
            try:
                yield message.offset, read_command(message.value)
            except BadCommand as error:
                log.warning("a command cannot be read", topic="usage.commands", offset=message.offset, error=str(error))

    async def refresh(self) -> Commands:
        """Read what is new."""
        _, end = await self._log.bounds()
        async for offset, command in self.read(self._next, end):
            self.history[offset] = command
            self.state.take(offset, command)
        self._next = end
        return self.state
