"""One mail to one server, and what became of it; the server's address is judged and pinned like that of a webhook."""

import asyncio
import socket
import ssl
from dataclasses import dataclass
from email.message import EmailMessage

import aiosmtplib

from streams.notify.address import Refused, Unresolved, addresses_of, is_public
from streams.notify.retry import Answer
from streams.notify.web import Web, said_of

READ_SECONDS = 20.0


@dataclass(frozen=True)
class Server:
    """Where a mail is handed over. tls: starttls (insisted on), tls (from the first byte), none (no login outside)."""

    host: str
    port: int
    tls: str
    user: str = ""
    password: str = ""


async def hand_over(web: Web, server: Server, mail: EmailMessage) -> Answer:
    """Never raises for what is outside. 2xx to the mail's data counts as sent; what a 5xx refuses is final."""
    try:
        async with asyncio.timeout(web.whole_seconds):
            return await _hand_over(web, server, mail)
    except TimeoutError:
        return Answer(None, f"no answer within {web.whole_seconds:g} s")
    except Exception as error:  # such as a password that no login can hold: its message would hold it
        return Answer(None, said_of(error))


async def _hand_over(web: Web, server: Server, mail: EmailMessage) -> Answer:
    try:
        addresses = await addresses_of(server.host, server.port, web.allow_private, web.resolve)
    except (Refused, Unresolved) as error:
        return Answer(None, str(error))
    if server.tls == "none" and server.user and any(is_public(a) for a in addresses):
        return Answer(None, "tls is none, which would show a secret on its way; use starttls or tls")
    found = await _connected(addresses, server.port)
    if isinstance(found, Answer):
        return found
    client = aiosmtplib.SMTP(
        hostname=server.host,
        local_hostname=socket.gethostname(),  # else it asks DNS who we are, with no time limit
        sock=found,
        timeout=READ_SECONDS,
        use_tls=server.tls == "tls",
        start_tls=server.tls == "starttls",
        tls_context=web.verify,
    )
    try:
        await client.connect()
        if server.user:
            await client.login(server.user, server.password)
        refused, _ = await client.send_message(mail)
    except aiosmtplib.SMTPException as error:
        return _judged(error)
    except (ssl.SSLError, OSError) as error:
        return Answer(None, said_of(error))
    finally:
        client.close()
    if refused:
        return Answer(250, None, reference=f"{len(refused)} recipients refused")
    return Answer(250)


async def _connected(addresses: list[str], port: int) -> socket.socket | Answer:
    failed = Answer(None, "cannot be reached")
    for address in addresses:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (address, port))
        except OSError as error:
            sock.close()
            failed = Answer(
                None, "connection refused" if isinstance(error, ConnectionRefusedError) else "cannot be reached"
            )
            continue
        except BaseException:
            sock.close()
            raise
        return sock
    return failed


def _judged(error: aiosmtplib.SMTPException) -> Answer:
    """By the reply's code; the server's words are left out, since some repeat what they were given."""
    codes = [error.code] if isinstance(error, aiosmtplib.SMTPResponseException) else []
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        codes = [one.code for one in error.recipients]
    if codes and isinstance(codes[0], int) and 400 <= codes[0] < 600:
        final = all(500 <= code < 600 for code in codes)
        return Answer(codes[0], f"smtp {codes[0]} at {_step(error)}", final=final)
    if isinstance(error, aiosmtplib.SMTPNotSupported) or "not supported" in str(error):
        return Answer(None, "the server offers no STARTTLS or no login; mend tls or user of the endpoint", final=True)
    if isinstance(error, aiosmtplib.SMTPTimeoutError):
        return Answer(None, "no answer in time")
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError):
            return Answer(None, said_of(cause))
        cause = cause.__cause__ or cause.__context__
    return Answer(None, "the connection ended without an answer")


def _step(error: aiosmtplib.SMTPException) -> str:
    names = {
        aiosmtplib.SMTPAuthenticationError: "login",
        aiosmtplib.SMTPSenderRefused: "the sender",
        aiosmtplib.SMTPRecipientRefused: "a recipient",
        aiosmtplib.SMTPRecipientsRefused: "the recipients",
        aiosmtplib.SMTPDataError: "the mail itself",
        aiosmtplib.SMTPConnectResponseError: "the greeting",
        aiosmtplib.SMTPHeloError: "the greeting",
    }
    return next((name for kind, name in names.items() if isinstance(error, kind)), "a command")
