"""The schema registry over real HTTP: what it knows, what it does not, and what happens when it misbehaves."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from streams.kafka.registry import Registry, RegistryAway
from streams.pipeline.decode import Decoder
from streams.pipeline.frames import Record
from tests.support.events import ENCODE, NOW, SCHEMA, event

BODY = ENCODE(event())[10:]


def framed(number: int, offset: int = 1) -> Record:
    return Record(offset, NOW, b"\0" + number.to_bytes(4, "big") + BODY)


class Server(ThreadingHTTPServer):
    """Answers what it is told, and remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[tuple[int, Any]]] = {}
        self.asked: list[tuple[str, str | None]] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        answers = self.server.answers.get(self.path) or [(404, {"error_code": 40403})]
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def url(server: Server, login: str = "") -> str:
    return f"http://{login}127.0.0.1:{server.server_address[1]}"


def test_an_id_is_asked_once_and_its_records_are_read(server: Server) -> None:
    server.answers["/schemas/ids/7"] = [(200, {"schema": json.dumps(SCHEMA)})]
    registry, decoder = Registry(url(server, "me:secret@")), Decoder(SCHEMA)

    for _ in range(2):
        for number in decoder.unknown_ids([framed(7)]):
            decoder.learn(number, registry.schema(number))

    assert decoder.decode([framed(7)]).frame["event_id"].to_list() == ["e1"]
    assert server.asked == [("/schemas/ids/7", "Basic bWU6c2VjcmV0")]


def test_an_unknown_id_is_refused_and_not_asked_again_at_once(server: Server) -> None:
    registry = Registry(url(server))

    assert [registry.schema(9), registry.schema(9)] == [None, None]
    assert len(server.asked) == 1


def test_a_registry_that_stumbles_is_asked_again(server: Server) -> None:
    server.answers["/schemas/ids/7"] = [(503, {}), (200, {"schema": '{"type": "string"}'})]

    assert Registry(url(server)).schema(7) == {"type": "string"}


@pytest.mark.parametrize("status", [401, 500])
def test_a_registry_that_refuses_us_makes_records_wait_and_keeps_the_secret(server: Server, status: int) -> None:
    server.answers["/schemas/ids/7"] = [(status, {})]

    with pytest.raises(RegistryAway, match="mend USAGE_STREAMS_REGISTRY_URL") as caught:
        Registry(url(server, "me:secret@")).schema(7)

    assert "secret" not in str(caught.value)


def test_a_schema_of_another_kind_is_none_of_ours(server: Server) -> None:
    server.answers["/schemas/ids/7"] = [(200, {"schemaType": "PROTOBUF", "schema": "message A {}"})]

    assert Registry(url(server)).schema(7) is None


def without(name: str) -> Any:
    return SCHEMA | {"fields": [f for f in SCHEMA["fields"] if f["name"] != name]}


def retyped(name: str, kind: Any) -> Any:
    return SCHEMA | {"fields": [f | ({"type": kind} if f["name"] == name else {}) for f in SCHEMA["fields"]]}


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        (None, "schema id 7 is not in the registry"),
        (without("model"), "schema id 7 lacks model"),
        (
            retyped("team", {"type": "map", "values": "string"}),
            "schema id 7 has a field team of a type that is not read",
        ),
        (retyped("event_time", "string"), "schema id 7 has a field event_time of another type than ours"),
        ({"type": "string"}, "schema id 7 is not a record"),
    ],
)
def test_a_schema_that_cannot_be_ours_says_why_in_the_dead_letter(schema: Any, why: str) -> None:
    decoder = Decoder(SCHEMA)
    decoder.learn(7, schema)

    dead = decoder.decode([framed(7)]).dead

    assert [d.reason for d in dead] == ["unknown_schema"]
    assert dead[0].detail.startswith(why)


def test_null_where_ours_is_required_is_refused_alone() -> None:
    schema = retyped("tenant_id", ["null", "string"])
    decoder = Decoder(SCHEMA, registry={7: schema})
    from streams.pipeline.encode import Encoder

    encode = Encoder(schema)
    records = [
        Record(i, NOW, b"\0\0\0\0\7" + encode(event(i, tenant_id=tenant))[10:])
        for i, tenant in enumerate(["acme", None])
    ]

    decoded = decoder.decode(records)

    assert decoded.frame["event_id"].to_list() == ["e0"]
    assert [d.reason for d in decoded.dead] == ["empty_tenant"]
