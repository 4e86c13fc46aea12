"""The ClickHouse engine inside this process, one request at a time as an HTTP server would see it.

A fresh chdb connection a request gives the isolation of a server's session: settings and USE never leak (0.15 ms, measured).
One process owns a data folder; chdb must not be forked after it was opened.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import chdb

# Parameters of the transport; all others are settings of the query.
TRANSPORT = frozenset(
    [
        "query",
        "database",
        "user",
        "password",
        "session_id",
        "session_timeout",
        "session_check",
        "query_id",
        "quota_key",
        "compress",
        "decompress",
        "default_format",
        "buffer_size",
        "wait_end_of_query",
        "client_protocol_version",
        "role",
        "enable_http_compression",
        "send_progress_in_http_headers",
        "http_headers_progress_interval_ms",
        "cancel_http_readonly_queries_on_client_close",
    ]
)
STREAMED = frozenset({"Native", "TabSeparated", "TSV", "CSV", "RowBinary", "JSONEachRow"})
FORMAT = re.compile(rb"\bFORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
INSERT = re.compile(rb"\A\s*(INSERT\s+INTO\s.{1,65536}?)\s+FORMAT\s+(\w+)(?:[ \t]*\r?\n|[ \t]+|\Z)", re.I | re.S)
SELECT = re.compile(rb"\A\s*(?:(?:--[^\n]*\n|/\*.*?\*/)\s*)*\(?\s*(SELECT|WITH)\b", re.I | re.S)
SETTING = re.compile(r"[A-Za-z_]\w*")
PIECE = 1 << 20
Put = Callable[[Mapping[str, str], bytes], None]  # the first call's headers begin the answer


class BadSetting(Exception):
    """A setting that is not accepted; the message has ClickHouse's form, so that clients understand it."""


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Engine:
    """chdb over one folder; `run` may be called from many threads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._dsn = str(folder)
        self._keep = chdb.connect(self._dsn)  # keeps the engine up between requests
        self.zone = self._keep.query("SELECT timezone()", "TSV").bytes().decode().strip()

    def close(self) -> None:
        """Flush and release the folder."""
        self._keep.close()

    def run(self, sql: bytes, parameters: Mapping[str, str], database: str, read_only: bool, put: Put) -> None:
        """Answer one request through `put`; raises what the engine raises, `Code: N. ...`."""
        connection = chdb.connect(self._dsn)
        try:
            self._prepare(connection, parameters, database, read_only)
            insert = INSERT.match(sql[:70_000])
            if insert and sql[insert.end() :].strip():
                self._insert(connection, insert, sql, put)
            else:
                self._query(connection, sql, parameters, put)
        finally:
            connection.close()

    @staticmethod
    def _prepare(connection: Any, parameters: Mapping[str, str], database: str, read_only: bool) -> None:
        if database:
            connection.query("USE `{}`".format(database.replace("`", "\\`")), "TSV")
        for name, value in parameters.items():
            if name in TRANSPORT or name.startswith("param_"):
                continue
            if not SETTING.fullmatch(name):
                raise BadSetting(f"Code: 115. DB::Exception: Setting {name} is not accepted. (UNKNOWN_SETTING)")
            connection.query(f"SET {name} = {_quoted(value)}", "TSV")
        if read_only:
            connection.query("SET readonly = 1", "TSV")

    @staticmethod
    def _insert(connection: Any, insert: re.Match[bytes], sql: bytes, put: Put) -> None:
        started = time.perf_counter_ns()
        sink = connection.send_insert(insert[1].decode(), insert[2].decode())
        try:
            body = memoryview(sql)[insert.end() :]
            for at in range(0, len(body), PIECE):
                sink.append(bytes(body[at : at + PIECE]))
            done = sink.finish()
        except BaseException:
            sink.cancel()
            raise
        summary = {"written_rows": done.rows_written, "written_bytes": done.bytes_written}
        put(_summary(summary, time.perf_counter_ns() - started), b"")

    @staticmethod
    def _query(connection: Any, sql: bytes, parameters: Mapping[str, str], put: Put) -> None:
        bind = {name[6:]: value for name, value in parameters.items() if name.startswith("param_")}
        named = FORMAT.search(sql)
        default = parameters.get("default_format")
        if named and (form := named[1].decode()) in STREAMED and SELECT.match(sql):
            headers: Mapping[str, str] = {"X-ClickHouse-Format": form}
            with connection.send_query(sql, form, params=bind) as pieces:
                for piece in pieces:  # the headers go with the first, so that an early error still has a status
                    put(headers, piece.bytes())
                    headers = {}
            if headers:
                put(headers, b"")
        elif named or default:
            form = named[1].decode() if named else str(default)
            found = connection.query(sql, form, params=bind)
            summary = {"read_rows": found.storage_rows_read(), "read_bytes": found.storage_bytes_read()}
            headers = {"X-ClickHouse-Format": form, **_summary(summary, int(found.elapsed() * 1e9))}
            put(headers, found.bytes() or b"")
        else:  # the line of names tells a result from a bare statement, which clients must be able to do
            body = connection.query(sql, "TabSeparatedWithNames", params=bind).bytes() or b""
            put({"X-ClickHouse-Format": "TabSeparated"} if body else {}, body[body.find(b"\n") + 1 :])


def _summary(counts: Mapping[str, int], elapsed_ns: int) -> dict[str, str]:
    return {"X-ClickHouse-Summary": json.dumps({k: str(v) for k, v in {**counts, "elapsed_ns": elapsed_ns}.items()})}
