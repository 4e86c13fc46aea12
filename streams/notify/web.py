"""One POST to one address, and what became of it: no redirects, no proxies of the environment, no connection kept.

Decision: httpx2, the maintained continuation of httpx, which the lock file held already. Connections are not kept: addresses
are pinned, and two names behind one address must not share what was verified for one of them. A post is rare.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import httpx2

from streams.notify.address import Refused, Resolve, Unresolved, addresses_of, is_public, look_up
from streams.notify.retry import Answer, is_final, retry_after_of

CONNECT_SECONDS, READ_SECONDS, WHOLE_SECONDS = 10.0, 20.0, 25.0  # Standard Webhooks: 15 to 30 s
MOST_ANSWER = 64 * 1024  # bytes of an answer that are read
for _name in ("httpx2", "httpcore2"):  # they would log addresses and headers, which hold secrets
    logging.getLogger(_name).setLevel(logging.CRITICAL)
    logging.getLogger(_name).propagate = False


@dataclass(frozen=True, slots=True)
class Reply:
    """What an endpoint said; `answer` judges it, `body` is its beginning."""

    answer: Answer
    body: bytes = b""


@dataclass(frozen=True)
class Web:
    """The way out. now_ms: for dates in Retry-After; verify: how certificates are judged."""

    allow_private: bool
    now_ms: Callable[[], int]
    resolve: Resolve = look_up
    verify: ssl.SSLContext = field(default_factory=ssl.create_default_context)
    whole_seconds: float = WHOLE_SECONDS

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], in_clear: bool = False) -> Reply:
        """Never raises for what is outside. in_clear: http to a public address is fine, since nothing secret travels."""
        try:
            where = httpx2.URL(url)
        except (httpx2.InvalidURL, ValueError, TypeError):
            return Reply(Answer(None, "the address is no URL; mend it"))
        if where.scheme not in ("http", "https") or not where.host:
            return Reply(Answer(None, "the address is no http or https URL; mend it"))
        try:
            async with asyncio.timeout(self.whole_seconds):
                return await self._post(where, body, headers, in_clear)
        except TimeoutError:
            return Reply(Answer(None, f"no answer within {self.whole_seconds:g} s"))
        except Exception as error:  # such as a token that no header can hold: its message would hold the token
            return Reply(Answer(None, said_of(error)))

    async def _post(self, where: httpx2.URL, body: bytes, headers: Mapping[str, str], in_clear: bool) -> Reply:
        port = where.port or (443 if where.scheme == "https" else 80)
        try:
            addresses = await addresses_of(where.host, port, self.allow_private, self.resolve)
        except (Refused, Unresolved) as error:
            return Reply(Answer(None, str(error)))
        if where.scheme == "http" and not in_clear and any(is_public(a) for a in addresses):
            return Reply(Answer(None, "the address is http, which would show a secret on its way; use https"))
        failed = Answer(None, "has no address")
        for address in addresses:
            try:
                return await self._ask(where, address, body, headers)
            except httpx2.ConnectError as error:
                failed = Answer(None, said_of(error))  # nothing was sent: the next address may be better
            except httpx2.TimeoutException as error:
                return Reply(Answer(None, said_of(error)))
            except (httpx2.HTTPError, ssl.SSLError, OSError) as error:
                return Reply(Answer(None, said_of(error)))
        return Reply(failed)

    async def _ask(self, where: httpx2.URL, address: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        transport = httpx2.AsyncHTTPTransport(
            verify=self.verify, trust_env=False, limits=httpx2.Limits(max_keepalive_connections=0)
        )
        timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
        async with httpx2.AsyncClient(
            transport=transport, timeout=timeout, follow_redirects=False, trust_env=False
        ) as client:
            request = client.build_request(
                "POST",
                where.copy_with(host=address),
                content=body,
                headers={
                    "host": where.netloc.decode("ascii"),
                    "content-type": "application/json",
                    "user-agent": "usage-streams",
                    "accept-encoding": "identity",
                    "connection": "close",
                    **headers,
                },
                extensions={"sni_hostname": where.host},  # the certificate is that of the name, not of the address
            )
            response = await client.send(request, stream=True)
            try:
                found = bytearray()
                async for part in response.aiter_raw():
                    found += part
                    if len(found) >= MOST_ANSWER:
                        break
            finally:
                await response.aclose()
            return Reply(judge(response.status_code, response.headers, self.now_ms()), bytes(found[:MOST_ANSWER]))


def judge(code: int, headers: Mapping[str, str], now: int) -> Answer:
    """What a status means for the delivery."""
    if 200 <= code < 300:
        return Answer(code)
    if 300 <= code < 400:
        return Answer(code, f"http {code}: a redirect, which is not followed; give the final address")
    wait = retry_after_of(headers.get("retry-after"), now) if code in (429, 502, 503, 504, 408, 425) else None
    gone = "; the endpoint is gone, nothing more is sent there until the catalog changes it" if code == 410 else ""
    return Answer(code, f"http {code}{gone}", wait, final=is_final(code))


def said_of(error: BaseException) -> str:
    """Why nobody answered, in our own words: those of libraries may hold addresses."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return f"tls: the certificate is not accepted: {seen.verify_message}"
        if isinstance(seen, ssl.SSLError):
            return f"tls: {str(seen.reason or 'the handshake failed').replace('_', ' ').lower()}"
        if isinstance(seen, ConnectionRefusedError):
            return "connection refused"
        seen = seen.__cause__ or seen.__context__
    match error:
        case httpx2.ConnectTimeout():
            return "no connection in time"
        case httpx2.TimeoutException() | TimeoutError():
            return "no answer in time"
        case httpx2.ConnectError():
            return "cannot be reached"
        case httpx2.ReadError() | httpx2.RemoteProtocolError() | ConnectionError():
            return "the connection ended without an answer"
    return f"cannot be asked ({type(error).__name__})"
