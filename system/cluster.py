"""The processes that do one job together, and the connections over which they agree.

The first worker, the chief, listens at its address until all others are there; then each has a connection to it. It
carries a few bytes at a time: settings, decisions, and the checkpoint from which a run continues. (The gradients take
another way, that of tf.distribute, which cannot name a worker that never comes, and waits for it forever.)
"""

import contextlib
import hashlib
import json
import os
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from system.errors import EXIT_WORKER_LOST, UserError
from system.progress import status
from system.terminal import printable

WAIT_SECONDS = 300  # for all workers to come
_SECONDS_BETWEEN_TRIES = 0.5
_MAX_GREETING = 64
_WELCOME, _TAKEN, _OTHER_CLUSTER = (text.ljust(_MAX_GREETING) for text in (b"welcome", b"taken", b"other cluster"))
_SECONDS_PER_ANSWER = 5.0
_LENGTH = struct.Struct("!Q")  # before each message
_TF_CONFIG = "TF_CONFIG"
_EXAMPLE = "--workers host1:2222,host2:2222"


class WorkerLostError(UserError):
    """Another worker ended, or cannot be reached any more."""

    exit_code = EXIT_WORKER_LOST


@dataclass(frozen=True)
class Cluster:
    """The addresses of all workers, host:port, that of the chief first, and the index of this one among them."""

    addresses: Sequence[str] = ()
    index: int = 0

    def describe(self, index: int) -> str:
        """Returns the name of a worker for messages."""
        return f"{'the chief' if index == 0 else f'worker {index}'} ({printable(self.addresses[index])})"


def find_cluster(workers: str, worker: int) -> Cluster:
    """Returns the workers of the settings or, if there are none, those of the environment variable TF_CONFIG.

    Raises:
        UserError: they make no sense.
    """
    if workers:
        addresses = [address.strip() for address in workers.split(",")]
        cluster, source = Cluster(addresses, worker), f"--workers {printable(workers)}"
        if worker >= len(cluster.addresses):
            raise UserError(f"--worker {worker}: {source} has workers 0 to {len(cluster.addresses) - 1}")
    elif text := os.environ.get(_TF_CONFIG):
        cluster, source = _from_tf_config(text), _TF_CONFIG
    elif worker:
        raise UserError(f"--worker {worker}: there are no others; name the addresses of all: {_EXAMPLE}")
    else:
        return Cluster()
    for address in cluster.addresses:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise UserError(f"{source}: {printable(address)} is not host:port; write, for example, {_EXAMPLE}")
    if len(set(cluster.addresses)) < len(cluster.addresses):
        raise UserError(f"{source}: the same address appears twice; give each worker its own")
    return cluster if len(cluster.addresses) > 1 else Cluster()


def _from_tf_config(text: str) -> Cluster:
    """Returns the workers in a TF_CONFIG: those of the jobs "chief" and "worker"."""
    try:
        config = json.loads(text)
        jobs, task = dict(config.get("cluster", {})), config.get("task", {})
        kind, number = task.get("type", "worker"), int(task.get("index", 0))
        addresses = {job: [str(address) for address in jobs.pop(job, [])] for job in ("chief", "worker")}
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{_TF_CONFIG}: is not valid ({printable(str(error))}); unset it, or name the workers with --workers"
        ) from None
    if others := sorted({*jobs, kind} - addresses.keys()):
        raise UserError(f"{_TF_CONFIG}: has a job {printable(others[0])!r}; only chief and worker can be used")
    every = [*addresses["chief"], *addresses["worker"]]
    if every and not 0 <= number < len(addresses[kind]):
        raise UserError(f"{_TF_CONFIG}: has no address for {kind} {number}")
    return Cluster(every, number + (len(addresses["chief"]) if kind == "worker" else 0))


class Workers:
    """All workers of a job, as one of them sees it. By default it is alone.

    Attributes:
        index: of this worker; that of the chief is 0.
        count: of all workers.
    """

    def __init__(self, cluster: Cluster | None = None, connections: Sequence[socket.socket] = ()) -> None:
        """`connections` of the chief: one to each other worker, in their order; of the others: the one to the chief."""
        self.cluster = cluster = cluster or Cluster()
        self.index, self.count = cluster.index, max(1, len(cluster.addresses))
        self._connections = connections

    @property
    def is_chief(self) -> bool:
        return self.index == 0

    def all_gather(self, value: bytes) -> list[bytes]:
        """Returns the values of all workers. All must call it, and it takes until all have done so.

        Raises:
            WorkerLostError: one of them has ended.
        """
        if self.count == 1:
            return [value]
        if not self.is_chief:
            self._send(0, value)
            return [self._receive(0) for _ in range(self.count)]
        values = [value, *(self._receive(index) for index in range(1, self.count))]
        for index in range(1, self.count):
            for other in values:
                self._send(index, other)
        return values

    def broadcast(self, value: bytes = b"") -> bytes:
        """Returns the value of the chief; that of the others does not count."""
        return self.all_gather(value if self.is_chief else b"")[0]

    def require_equal(self, values: dict[str, object]) -> None:
        """Raises UserError, with both values, if another worker has other values than the chief. All must call it."""
        if self.count == 1:
            return
        first, *others = (json.loads(text) for text in self.all_gather(json.dumps(values, default=str).encode()))
        for index, other in enumerate(others, start=1):
            for name in first.keys() | other.keys():
                if (expected := first.get(name)) != (value := other.get(name)):
                    raise UserError(
                        f"{printable(name)}: {self.cluster.describe(index)} has {printable(str(value))}, "
                        f"the chief has {printable(str(expected))}; give all workers the same and start them again"
                    )

    def _peer(self, index: int) -> socket.socket:
        return self._connections[index - 1 if self.is_chief else 0]

    def _send(self, index: int, value: bytes) -> None:
        with self._lost_on_error(index):
            self._peer(index).sendall(_LENGTH.pack(len(value)) + value)

    def _receive(self, index: int) -> bytes:
        with self._lost_on_error(index):
            (length,) = _LENGTH.unpack(_read(self._peer(index), _LENGTH.size))
            return _read(self._peer(index), length)

    @contextlib.contextmanager
    def _lost_on_error(self, index: int) -> Iterator[None]:
        try:
            yield
        except OSError:
            raise self.lost(index) from None

    def lost(self, index: int | None = None) -> WorkerLostError:
        """Returns the error about a worker that has ended, if it is known which one."""
        who = "another worker" if index is None else self.cluster.describe(index)
        return WorkerLostError(
            f"{who} has ended or cannot be reached; its own output says why; run the same commands again to continue"
        )


class _Deadline:
    """The end of a number of seconds from now."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def __str__(self) -> str:
        return f"{self._seconds:g} seconds"

    def left(self) -> float:
        """Returns the seconds until then, but enough for a timeout."""
        return max(0.01, self._end - time.monotonic())

    def is_over(self) -> bool:
        return time.monotonic() >= self._end


def _read(connection: socket.socket, length: int) -> bytes:
    """Returns this many bytes. Raises ConnectionError if the other side ends before."""
    parts = bytearray()
    while len(parts) < length:
        if not (part := connection.recv(min(2**20, length - len(parts)))):
            raise ConnectionError
        parts += part
    return bytes(parts)


@contextlib.contextmanager
def connected(cluster: Cluster, *, seconds: float = WAIT_SECONDS) -> Iterator[Workers]:
    """Connects all workers until the block ends.

    Raises:
        UserError: one does not come in time, or the port of this one is in use.
    """
    with contextlib.ExitStack() as connections:
        if not cluster.addresses:
            yield Workers()
            return
        connect = _wait_for_others if cluster.index == 0 else _connect_to_chief
        found = connect(cluster, connections, _Deadline(seconds))
        for connection in found:
            connection.settimeout(None)
            _notice_losses(connection)
        yield Workers(cluster, found)


def _notice_losses(connection: socket.socket) -> None:
    """Lets the system close a connection half a minute after the other machine has disappeared."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    limits = {
        "TCP_KEEPIDLE": 10,  # seconds without a message until the first question
        "TCP_KEEPALIVE": 10,  # the same on macOS
        "TCP_KEEPINTVL": 5,  # seconds between questions
        "TCP_KEEPCNT": 4,  # questions without an answer
        "TCP_USER_TIMEOUT": 30_000,  # milliseconds until what was sent must have arrived
    }
    for name, value in limits.items():
        if hasattr(socket, name):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _is_closed(connection: socket.socket) -> bool:
    """Returns whether the other side has closed a connection over which it has nothing to say yet."""
    connection.setblocking(False)
    try:
        return not connection.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True


def _listen(cluster: Cluster) -> socket.socket:
    """Returns a socket at the port of this worker. Raises UserError if that is in use."""
    port = int(cluster.addresses[cluster.index].rpartition(":")[2])
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        raise UserError(
            f"{cluster.addresses[cluster.index]}: cannot use port {port} ({error.strerror}); end the program that uses "
            "it, or choose another port in the addresses of the workers"
        ) from None


def _wait_for_others(cluster: Cluster, connections: contextlib.ExitStack, deadline: _Deadline) -> list[socket.socket]:
    """Returns the connections to all other workers, in their order."""
    found: dict[int, socket.socket] = {}
    others = range(1, len(cluster.addresses))

    def absent() -> list[int]:
        """One that was there may have ended again, while others were awaited, and may come back."""
        return [index for index in others if index not in found or _is_closed(found[index])]

    with _listen(cluster) as server:
        while missing := absent():
            who = cluster.describe(missing[0])
            server.settimeout(deadline.left())
            try:
                with status(f"waiting for {who} ..."):
                    connection, _ = server.accept()
            except (TimeoutError, BlockingIOError):
                raise UserError(
                    f"{who} did not connect within {deadline}; start the same command there, with --worker "
                    f"{missing[0]} or its own {_TF_CONFIG}"
                ) from None
            if index := _welcomed(connection, cluster, absent(), deadline):
                found[index] = connections.enter_context(connection)
            else:
                connection.close()
    return [found[index] for index in others]


def _welcomed(connection: socket.socket, cluster: Cluster, absent: Sequence[int], deadline: _Deadline) -> int:
    """Returns the index of the worker that has connected, or 0 if it is not one of those that are still missing."""
    connection.settimeout(min(_SECONDS_PER_ANSWER, deadline.left()))
    with contextlib.suppress(OSError):
        greeting = _read(connection, _MAX_GREETING)
        others = range(1, len(cluster.addresses))
        index = next((index for index in others if greeting == _greeting(cluster, index)), 0)
        connection.sendall(_WELCOME if index in absent else _TAKEN if index else _OTHER_CLUSTER)
        return index if index in absent else 0
    return 0


def _greeting(cluster: Cluster, index: int) -> bytes:
    """Returns what a worker says first: which one it is, of which cluster."""
    digest = hashlib.sha256(",".join(cluster.addresses).encode()).hexdigest()[:16]
    return f"image classifier, {digest}, worker {index}\n".encode().ljust(_MAX_GREETING)


def _connect_to_chief(cluster: Cluster, connections: contextlib.ExitStack, deadline: _Deadline) -> list[socket.socket]:
    """Returns the connection to the chief, in a list."""
    _listen(cluster).close()  # TensorFlow will need the port
    host, _, port = cluster.addresses[0].rpartition(":")
    greeting, problem = _greeting(cluster, cluster.index), ""
    with status(f"waiting for {cluster.describe(0)} ..."):
        while not deadline.is_over():
            timeout = min(_SECONDS_PER_ANSWER, deadline.left())
            try:
                with contextlib.ExitStack() as attempt:
                    address = host.strip("[]"), int(port)
                    connection = attempt.enter_context(socket.create_connection(address, timeout=timeout))
                    connection.sendall(greeting)
                    answer = _read(connection, _MAX_GREETING)
                    if answer == _WELCOME:
                        connections.push(attempt.pop_all())
                        return [connection]
                _refuse(answer, cluster)
                problem = "another program answers"
            except OSError as error:
                problem = error.strerror or "no answer"
            except UnicodeError:
                problem = "this cannot be the name of a machine"
            time.sleep(min(_SECONDS_BETWEEN_TRIES, deadline.left()))
    raise UserError(
        f"{cluster.describe(0)} cannot be reached within {deadline} ({problem}); check its address and its firewall, "
        "and start the same command there"
    )


def _refuse(answer: bytes, cluster: Cluster) -> None:
    """Raises UserError if the chief says why this worker cannot take part."""
    if answer == _TAKEN:
        raise UserError(f"--worker {cluster.index}: is already connected; give each worker its own number")
    if answer == _OTHER_CLUSTER:
        raise UserError(
            f"{cluster.describe(0)} has another list of workers than {printable(','.join(cluster.addresses))}; "
            "give all of them the same"
        )
