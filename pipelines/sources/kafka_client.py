"""The connection to Kafka: its address, the offsets of a topic, and its errors as Goldpath's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pipelines.errors import GoldpathError, LandingError, SettingsError, TransientError

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError


@dataclass(frozen=True, slots=True)
class Offsets:
    """The offsets of a topic at one moment, by partition.

    Attributes:
        topic_id: The id that the brokers gave the topic when it was created.
        low: The first offset that is kept.
        end: The offset behind the last committed record.
    """

    topic_id: str
    low: dict[int, int]
    end: dict[int, int]


class Client:
    """The brokers behind one connection.

    Args:
        name: The connection's name in GOLDPATH_SOURCES.
        url: Its address with its secrets, which no error shows.
        wait_seconds: How long an answer may take.
    """

    def __init__(self, name: str, url: str, wait_seconds: float) -> None:
        self.name = name
        self.wait_seconds = wait_seconds
        self._errors: list[KafkaError] = []
        self._configuration: dict[str, Any] = _configuration(name, url) | {
            "log_level": 0,
            "error_cb": self._errors.append,
        }

    def offsets(self, topic: str) -> Offsets:
        """The offsets of a topic; an open transaction is behind its end.

        Raises:
            TransientError: if the brokers do not answer.
            LandingError: if there is no such topic.
        """
        from confluent_kafka import IsolationLevel, KafkaException, TopicCollection, TopicPartition
        from confluent_kafka.admin import AdminClient, OffsetSpec

        try:
            admin = AdminClient(self._configuration)
        except KafkaException as error:
            raise self._explained(error.args[0], topic) from None
        try:
            description = admin.describe_topics(TopicCollection([topic]), request_timeout=self.wait_seconds)[
                topic
            ].result()
            partitions = [TopicPartition(topic, partition.id) for partition in description.partitions]
            low, end = (
                {
                    at.partition: answer.result().offset
                    for at, answer in admin.list_offsets(
                        dict.fromkeys(partitions, which),
                        isolation_level=IsolationLevel.READ_COMMITTED,
                        request_timeout=self.wait_seconds,
                    ).items()
                }
                for which in (OffsetSpec.earliest(), OffsetSpec.latest())
            )
        except KafkaException as error:
            admin.poll(0)  # calls `error_cb` with the reason
            raise self._explained(error.args[0], topic) from None
        return Offsets(str(description.topic_id), low, end)

    @contextlib.contextmanager
    def consumer(self) -> Iterator[Consumer]:
        """A consumer that reads committed records from assigned offsets and stores nothing at the brokers."""
        from confluent_kafka import Consumer

        consumer = Consumer(
            self._configuration
            | {
                "group.id": "goldpath",  # required by the client; no group is joined and no offset committed
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "isolation.level": "read_committed",
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "fetch.wait.max.ms": 100,
            }
        )
        try:
            yield consumer
        finally:
            consumer.close()

    def note(self, error: KafkaError, topic: str) -> None:
        """Raises an error that the client does not retry; keeps any other for `silent`."""
        from confluent_kafka import KafkaError

        transient = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT)
        if not error.retriable() and error.code() not in transient:
            raise self._explained(error, topic)
        self._errors.append(error)

    def silent(self, what: str) -> GoldpathError:
        """The error for brokers that did not answer in time, with the last error of the client."""
        refused = self._refused()
        if refused is not None:
            return refused
        last = self._errors[-1].str() if self._errors else "no answer"
        return TransientError(
            object=what,
            observed=f"{last} (waited {self.wait_seconds:g} s)",
            expected=f"the brokers of connection {self.name!r} to answer",
            next_step="check that they run and can be reached from here, then run again: nothing is lost",
        )

    def _explained(self, error: KafkaError, topic: str) -> GoldpathError:
        """A client's error as Goldpath's."""
        from confluent_kafka import KafkaError

        what = f"Kafka topic {topic}"
        if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION):
            return LandingError(
                object=what,
                observed=f"the brokers of connection {self.name!r} know no such topic",
                expected="a topic that exists",
                next_step="correct its name, or have it created",
            )
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            return TransientError(
                object=what,
                observed="retention deleted records while they were read",
                expected="records that are kept until they are landed",
                next_step="run again: the next run says which are lost",
            )
        if error.code() in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError._INVALID_ARG):
            return self._refused(error) or self.silent(what)
        if error.code() not in (KafkaError._TIMED_OUT, KafkaError._TRANSPORT):
            self._errors.append(error)
        return self.silent(what)

    def _refused(self, error: KafkaError | None = None) -> SettingsError | None:
        """The error for a wrong address, user or password, if the client reported one."""
        from confluent_kafka import KafkaError

        wrong = error or next(
            (e for e in self._errors if e.code() in (KafkaError._AUTHENTICATION, KafkaError._SSL)), None
        )
        if wrong is None:
            return None
        return SettingsError(
            object=f"connection {self.name!r} in GOLDPATH_SOURCES",
            observed=wrong.str(),
            expected="an address and a user that the brokers accept",
            next_step="correct kafka://user:password@host:port?security.protocol=…&sasl.mechanism=…",
        )


def _configuration(name: str, url: str) -> dict[str, Any]:
    """The address as librdkafka's properties; a user alone stands for SASL/PLAIN over TLS."""
    parts = urlsplit(url)
    user, _, servers = parts.netloc.rpartition("@")
    if parts.scheme != "kafka" or not servers:
        raise SettingsError(
            object=f"connection {name!r} in GOLDPATH_SOURCES",
            observed=f"an address that begins with {parts.scheme}://" if parts.scheme else "no address",
            expected="kafka://[user:password@]host:port[,host:port][?property=value]",
            next_step="correct the address",
        )
    properties: dict[str, Any] = {"bootstrap.servers": servers}
    if user:
        username, _, password = user.partition(":")
        properties |= {"security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN"}
        properties |= {"sasl.username": unquote(username), "sasl.password": unquote(password)}
    return properties | dict(parse_qsl(parts.query))
