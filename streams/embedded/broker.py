"""A real Apache Kafka broker, one KRaft node on loopback, data in one folder."""

import subprocess
import uuid
from pathlib import Path

from streams.embedded.jars import Say, kafka_jars
from streams.embedded.java import java
from streams.embedded.ports import listens
from streams.embedded.process import Child, ChildDied

OPTIONS = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.message.timestamp.type=LogAppendTime
"""


class Broker:
    """Start, wait, stop; the second start on the same folder finds its data again."""

    def __init__(self, folder: Path, port: int, controller: int, say: Say = lambda line: None) -> None:
        self.folder, self.port, self.controller, self._say = folder, port, controller, say
        self.child: Child | None = None

    def start(self) -> Child:
        """Format the folder the first time, start, and return once the broker listens."""
        classpath = f"{kafka_jars(self._say)}/*"
        self.folder.mkdir(parents=True, exist_ok=True)
        properties, data = self.folder / "server.properties", self.folder / "data"
        properties.write_text(PROPERTIES.format(port=self.port, controller=self.controller, data=data))
        run = [str(java()), *OPTIONS, "-cp", classpath]
        if not (data / "meta.properties").is_file():
            cluster = uuid.uuid4().hex[:22]
            done = subprocess.run(
                [*run, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                raise ChildDied(
                    f"broker: its folder {data} cannot be formatted\n{done.stdout[-500:]}{done.stderr[-500:]}"
                )
        self.child = Child("broker", [*run, "kafka.Kafka", str(properties)], self.folder / "broker.log")
        self.child.start()
        self.child.wait_until(lambda: listens(self.port), 60)
        return self.child
